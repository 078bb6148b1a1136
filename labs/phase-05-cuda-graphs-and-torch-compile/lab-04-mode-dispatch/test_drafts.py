r"""Lab 04: sizes for decodes of several tokens. `test_lab.py` has the other tasks."""

from __future__ import annotations

import pytest

# ---------------------------------------------------------------- task 4: multiples


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("sizes", "query_len", "rounded"),
    [
        ([1, 2, 4], 1, (1, 2, 4)),
        ([1, 2, 4, 8], 2, (2, 4, 8)),
        ([1, 2, 4, 8, 16], 4, (4, 8, 16)),
        ([1, 2, 4, 8, 16], 3, (3, 6, 9)),
        ([4, 8], 3, (6,)),
        ([5], 4, (4,)),  # 8 would be too large, and 4 is a decode
        ([4], 4, (4,)),
    ],
    ids=str,
)
def test_sizes_are_rounded_up_and_stay_below_the_largest(impl, sizes, query_len, rounded):
    assert tuple(impl.for_drafts(sizes, query_len)) == rounded


@pytest.mark.task(4)
def test_a_decode_larger_than_all_sizes_is_refused(impl):
    with pytest.raises(impl.Refused, match=r"(?s)(?=.*7)(?=.*4)"):
        impl.for_drafts([1, 2, 4], 7)
