"""What is written into the documentation by program: tables of figures, and the output of commands.

`python -m docs.written` writes all of it anew; a test holds each page to what would be written.
"""
