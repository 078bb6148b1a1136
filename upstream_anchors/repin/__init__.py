r"""How does the book move to another release without anybody saying something untrue?

Moving a pin is two kinds of work. One is a machine's: find every anchor again, write the new lines
and hashes down. The other is a person's: where a body changed, a sentence about it may be false
now, and only a reader can tell. `python -m upstream_anchors pin VERSION` does the first on a branch
of its own and hands over the second, as a list on which each anchor that is not simply the same
stands exactly once.

`decisions` sorts anchors into kinds, `suggesting` finds new targets for what was renamed,
`mentions` finds the facts that are no anchors, `pin_file` and `branch` write, `edits` changes
targets in pages and only when asked, `listing` prints. What became of each anchor comes from
{py:mod}`upstream_anchors.drift`.
"""
