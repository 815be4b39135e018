"""Printers: a report becomes text. They neither ask nor print; width and colour of the terminal are arguments."""
