"""What is written into the documentation by program: tables of figures, and the output of commands.

`python -m docs.written` writes all of it anew; a test compares the pages with what would be written.
"""
