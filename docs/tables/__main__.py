"""Write every table of the documentation anew: `python -m docs.tables`."""

from docs.tables.pages import PAGES, renewed

for page, tables in PAGES.items():
    page.write_text(renewed(page, tables), encoding="utf-8")
