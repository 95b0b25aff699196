"""Write tables and outputs anew: `python -m docs.written`."""

from docs.written.outputs import with_outputs
from docs.written.pages import PAGES, with_tables

for path in PAGES:
    page = with_outputs(with_tables(path.read_text(encoding="utf-8")))
    path.write_text(page, encoding="utf-8")
