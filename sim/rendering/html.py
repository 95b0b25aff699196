"""HTML for pages and notebooks, from the Jinja templates in `templates`."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowsim.core.summary import FullSummary, Summary
from flowsim.io.counts import number_of
from flowsim.rendering.costs_text import cost_line
from flowsim.rendering.reasons import REASONS, SERVABLE, reason_rows
from flowsim.rendering.summary_text import CLASS_COLUMNS, class_rows, scheduler_facts

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

ByClass = Mapping[str, Mapping[str, int]]
"""Class -> reason -> how many requests."""


def render(template: str, **values: Any) -> str:
    """The text of a template of this package; every value is escaped."""
    return _environment().get_template(template).render(values)


def summary_html(summary: FullSummary) -> str:
    """The summary of a run as a small table, for notebooks."""
    trace = summary["inputs"].get("trace")  # a run made from evidence has no trace file
    return render(
        "summary.html",
        title=summary["policy"] if trace is None else f"{summary['policy']} on {trace}",
        tables=[(("", *CLASS_COLUMNS[1:]), class_rows(summary))],
        notes=[
            "; ".join(f"{name} {value}" for name, value in scheduler_facts(summary)),
            f"costs {cost_line(summary['inputs'])}",
        ],
    )


def explanation_html(policy: str, summary: Summary, missed: ByClass, servable: ByClass | None) -> str:
    """Why requests missed their SLOs, by class, as small tables for notebooks."""
    parts = [("missed", missed, REASONS)] + ([] if servable is None else [("could be in time", servable, SERVABLE)])
    tables = [((title, *counts, "all"), reason_rows(counts, names)) for title, counts, names in parts]
    count = sum(sum(counts.values()) for counts in missed.values())
    title = f"{policy}: {count:,} of {number_of(summary['counted'], 'request')} missed"
    return render("summary.html", title=title, tables=[counts for counts in tables if counts[1]], notes=[])


def story_html(title: str, rows: Iterable[Sequence[str]], facts: Iterable[tuple[str, str]]) -> str:
    """What became of one request, as a small table for notebooks."""
    tables = [(("time", "lasted", ""), list(rows))]
    return render("summary.html", title=title, tables=tables, notes=[f"{name}: {value}" for name, value in facts])


@lru_cache(maxsize=1)
def _environment() -> Environment:
    import jinja2  # slow to import, and only a page needs it

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("flowsim.rendering"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    environment.filters["identity"] = id
    environment.filters["breakable"] = _breakable
    environment.filters["in_script"] = _in_script
    environment.globals["asset"] = _asset
    return environment


def _asset(name: str) -> str:
    """A style sheet or script of this package, which stands in a page as it is."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _breakable(text: str) -> Markup:
    """A text whose lines may also be broken between the parts of a policy's specification, not within a number."""
    from markupsafe import Markup, escape  # slow to import, and only a page needs it

    return Markup(re.sub(r"(?<=[:=/_])(?=\S)|(?<=,)(?=[^\s\d])", "<wbr>", escape(text)))


def _in_script(json: str) -> str:
    """JSON as it may stand in a script element, which nothing in it can end."""
    return json.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
