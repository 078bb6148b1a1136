"""Rules that no page can meet go; whatever may be met stays."""

from __future__ import annotations

import pytest

from book._ext.used_styles import classes_of, pruned


@pytest.mark.parametrize(
    ("style", "left"),
    [
        (".used{a:b}.unused{a:b}", ".used{a:b}"),
        (".unused,.used>p{a:b}", ".used>p{a:b}"),
        (".used.unused{a:b}", ""),
        ("h1, [class*=unused]{a:b}", "h1,[class*=unused]{a:b}"),
        (".used:not(.unused:hover){a:b}", ".used:not(.unused:hover){a:b}"),
        (":is(.unused, .used) p{a:b}", ":is(.unused, .used) p{a:b}"),
        ("@media print{.unused{a:b}.used{a:b}}", "@media print{.used{a:b}}"),
        ("@media (width>1px){.unused{a:b}}", ""),
        ("@font-face{src:url(x.woff)}", "@font-face{src:url(x.woff)}"),
        ('@charset "UTF-8";.unused{a:b}', '@charset "UTF-8";'),
        (""".used{content:"}"}.unused{content:'{'}p{a:b}""", """.used{content:"}"}p{a:b}"""),
        ("@keyframes turn{from{a:b}to{a:c}}", "@keyframes turn{from{a:b}to{a:c}}"),
    ],
)
def test_what_stays(style, left):
    assert pruned(style, {"used"}) == left


def test_a_block_that_is_not_closed_is_named():
    with pytest.raises(ValueError, match="not closed"):
        pruned(".used{a:b", {"used"})


def test_classes_of_a_page():
    page = '<p class="a b"><pre>class=&quot;c&quot;</pre><i class=""></i>'
    assert classes_of(page) == {"a", "b"}
