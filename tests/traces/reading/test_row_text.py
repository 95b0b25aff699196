import pytest

from flowsim.errors import InputError
from flowsim.traces import read_trace
from support.traces import written


def test_blank_lines_byte_order_marks_and_text_separators_are_no_rows(tmp_path):
    rows = '\n\r\n{"arrival_s": 0, "input_length": 5, "class": "a\u2028b"}\r\n  \n{"arrival_s": 1, "input_length": 5}'
    trace = read_trace(written(tmp_path, b"\xef\xbb\xbf" + rows.encode()))
    assert (len(trace), trace.class_names) == (2, ("a\u2028b",))
    with pytest.raises(InputError, match=r"line 3: ContextTokens must be .*, got 'x'"):
        read_trace(written(tmp_path, "\nTIMESTAMP,ContextTokens\n2023-11-16 18:15:46,x\n"))


def test_a_quote_that_is_never_closed_swallows_no_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('Timestamp,Request tokens,Response tokens,Model\n5,7,0,"GPT\n6,8,0,GPT\n')
    with pytest.raises(InputError, match="line 3: is not CSV"):
        read_trace(path)
