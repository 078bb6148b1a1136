r"""What does a change of one file set in motion upstream?

Steps of CI are chosen by the paths that changed, owners by the last matching line, labels by
patterns. All of it stands in files of the pinned tree, so it can be counted: for one file before a
change, and for the whole tree on a page of the book.

`python -m capstone.workflow PATH …` prints it for some files; `--record` writes what the book draws
into `record.json`, and a test compares that with the tree.
"""
