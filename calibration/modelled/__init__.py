"""Modelled tables: operators scaled from measured ones to a GPU or a model that nobody measured."""
