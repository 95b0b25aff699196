"""Facts as notebooks show them."""

from flowsim.io.notebook import facts_html, shortened


def test_every_cell_is_text() -> None:
    html = facts_html("a<b", [("<i>", "1", "2 & 3")], ", <u>")
    assert html == (
        "<div><b>a&lt;b</b>, &lt;u&gt;<table><tr><th>&lt;i&gt;</th><td>1</td><td>2 &amp; 3</td></tr></table></div>"
    )


def test_many_values_are_shortened() -> None:
    assert shortened(range(20)).startswith("0, 1, 2, 3")
    assert shortened(range(21)) == "0 to 20, 21 values"
