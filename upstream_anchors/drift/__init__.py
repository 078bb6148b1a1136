r"""What has every other release done to the places that the book points at?

The book is true of one tree. Its readers run others. This package holds the lock against the tree
of any other release and says, anchor by anchor, what became of it: `fate` has the eight classes,
`likeness` how what was renamed is found.

`releases` fetches trees and keeps them, `classify` is the way in, `search` and `pool` follow
definitions and files, `line_fates` and `fact_fates` the rest, `records` is what is committed,
`touched` knows which pages and labs use an anchor, and `report` prints.

It reads two trees and changes neither; it moves no pin.
"""

from upstream_anchors.drift.classify import classify, fate_of
from upstream_anchors.drift.fate import OUTCOMES, Fate
from upstream_anchors.drift.releases import release_of, release_tree, versions_after_pin

__all__ = [
    "OUTCOMES",
    "Fate",
    "classify",
    "fate_of",
    "release_of",
    "release_tree",
    "versions_after_pin",
]
