"""The bulk reader agrees with the row reader on whatever it accepts."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsim.errors import InputError
from flowsim.traces import FORMATS, read_trace
from flowsim.traces.reading import bulk_reader, reader

COLUMNS = ("arrival_s", "input_length", "output_length", "class_code", "slo_s", "priority", "client_code")


CELL = st.one_of(
    st.integers(-3, 12),
    st.floats(-1, 20),
    st.sampled_from([None, True, "7", " 7", "", "x", [], [1, 2], [1.5], {}, 2**63, 1e300, "2024-05-10 00:00:01+00:00"]),
)


FIELDS = sorted({field for kind in FORMATS.values() for field in (*kind.signature, *kind.fields, "class")})


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(FORMATS)),
    st.lists(st.dictionaries(st.sampled_from(FIELDS), CELL), max_size=4),
    st.booleans(),
)
def test_the_bulk_reader_agrees_with_the_row_reader(folder, name, changes, drop_failed):
    kind = FORMATS[name]
    good = {field: 5 for field in (kind.arrival, kind.input_length)} | {field: [1] for field in kind.marks}
    if kind.clock == "date":
        good[kind.arrival] = "2024-05-10 00:00:00.009930+00:00"
    if "type" in kind.marks:
        good["type"] = "a"
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(good | change) + "\n" for change in [{}, *changes]))
    names = list(good)
    csv_path = folder / "t.csv"
    cells = [[(good | change)[field] for field in names] for change in [{}, *changes]]
    csv_path.write_text("\n".join(",".join(str(cell).replace(",", ";") for cell in row) for row in [names, *cells]))
    for place in (path, csv_path):
        outcomes = []
        for part_of in (bulk_reader.part_of, lambda *_, **__: None):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(reader, "BULK_FROM_BYTES", 0)
                patch.setattr(bulk_reader, "part_of", part_of)
                try:
                    trace = read_trace(place, name, spread=False, drop_failed=drop_failed)
                    outcomes.append(
                        repr([getattr(trace, c).tolist() for c in COLUMNS])  # NaN differs from itself
                        + repr([trace.class_names, trace.client_names, trace.notices])
                    )
                except InputError as error:
                    assert "\n" not in str(error)
                    outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
