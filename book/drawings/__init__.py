r"""Drawings that several pages may want: functions from the engine's own data to a figure.

Each takes what is to be drawn, computes nothing that the engine computes itself, and returns a
matplotlib figure in the style of {py:mod}`book.figures`, so it follows the reader's theme.

The book's own face is drawn here as well, as SVG without matplotlib: its
{py:mod}`mark <book.drawings.mark>` and its {py:mod}`cover <book.drawings.cover>`.
"""
