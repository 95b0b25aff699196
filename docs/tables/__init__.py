"""The tables of figures in the documentation, made from the shipped tables and the recorded evidence.

`python -m docs.tables` writes them anew between their markers, `<!-- table: NAME -->` and `<!-- end -->`.
"""
