r"""Lab 04: who may share a block, and what sharing costs. `test_cache.py` has tasks 5 to 7."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.core.free_block_queue import KVCacheBlock as Block

from labkit.properties import examples


def ids(blocks):
    return [block.block_id for block in blocks]


# ---------------------------------------------------------------- task 1: names


@pytest.mark.task(1)
@pytest.mark.parametrize(("num_tokens", "full"), [(0, 0), (3, 0), (4, 1), (7, 1), (8, 2), (9, 2)])
def test_only_full_blocks_have_names(impl, num_tokens, full):
    names = impl.block_names(range(num_tokens), 4)
    assert len(names) == full
    assert all(isinstance(name, bytes) and len(name) >= 16 for name in names)


@pytest.mark.task(1)
def test_a_name_stands_for_everything_before_it(impl):
    same_end = [impl.block_names([first, 1, 7, 8, 7, 8], 2) for first in (0, 5)]
    assert not set(same_end[0]) & set(same_end[1])
    # The same tokens at another place, too, are another block.
    assert len(set(same_end[0])) == 3


@pytest.mark.task(1)
def test_equal_beginnings_have_equal_names(impl):
    one, other = impl.block_names([1, 2, 3, 4, 5, 6], 2), impl.block_names([1, 2, 3, 4, 9, 6], 2)
    assert one[:2] == other[:2]
    assert one[2] != other[2]
    assert impl.block_names([1, 2, 3, 4], 2) == one[:2], "a longer request has the same first names"


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 23], [12, 3]),
        ([1, 2], [2, 1]),
        ([0, 0], [0, 256]),
        ([0, 2**40], [2**40, 0]),
        ([1, 2], [1 + 2**32, 2]),
        ([0, 1], [2**61 - 1, 1]),
    ],
)
def test_no_two_texts_share_a_name_by_accident(impl, one, other):
    assert impl.block_names(one, 2) != impl.block_names(other, 2)


@pytest.mark.task(1)
def test_a_salt_keeps_tenants_apart(impl):
    tokens = [1, 2, 3, 4]
    names = [impl.block_names(tokens, 2, salt) for salt in ("", "mine", "yours")]
    assert names[1] == impl.block_names(tokens, 2, salt="mine")
    assert len({name for found in names for name in found}) == 6, "in no block may they meet"


@pytest.mark.task(1)
@examples(60)
@given(
    one=st.lists(st.integers(0, 2), max_size=12),
    other=st.lists(st.integers(0, 2), max_size=12),
    block_size=st.integers(1, 4),
)
def test_equal_names_if_and_only_if_equal_prefixes(impl, one, other, block_size):
    names = impl.block_names(one, block_size), impl.block_names(other, block_size)
    assert len(names[0]) == len(one) // block_size
    for index, (mine, theirs) in enumerate(zip(*names), start=1):
        end = index * block_size
        assert (mine == theirs) == (one[:end] == other[:end])


# ---------------------------------------------------------------- task 2: by name


@pytest.mark.task(2)
def test_what_is_published_is_found(impl):
    names, block = impl.Names(), Block(3)
    assert names.find(b"x") is None
    names.publish(b"x", block)
    assert names.find(b"x") is block
    assert names.find(b"y") is None
    assert block.block_hash == b"x"
    names.withdraw(block)
    assert names.find(b"x") is None
    assert block.block_hash is None
    names.publish(b"y", block)
    assert names.find(b"y") is block


@pytest.mark.task(2)
@pytest.mark.parametrize("leaves", [3, 4, 5])
def test_a_twin_survives_its_twin(impl, leaves):
    names, blocks = impl.Names(), {n: Block(n) for n in (5, 3, 4)}
    for block in blocks.values():
        names.publish(b"x", block)
    assert names.find(b"x") is blocks[5], "the oldest of them"
    names.withdraw(blocks[leaves])
    oldest = next(n for n in (5, 3, 4) if n != leaves)
    assert names.find(b"x") is blocks[oldest]
    assert len(names) == 2
    assert blocks[leaves].block_hash is None
    assert blocks[oldest].block_hash == b"x"


@pytest.mark.task(2)
def test_a_name_is_for_good(impl):
    names, block = impl.Names(), Block(3)
    names.publish(b"x", block)
    for name in (b"y", b"x"):
        with pytest.raises(ValueError):
            names.publish(name, block)
    assert names.find(b"x") is block
    assert names.find(b"y") is None
    assert block.block_hash == b"x"


@pytest.mark.task(2)
def test_a_block_without_a_name_stays_as_it_is(impl):
    names, block = impl.Names(), Block(3)
    names.publish(b"x", Block(4))
    names.withdraw(block)
    assert block.block_hash is None
    assert len(names) == 1


@pytest.mark.task(2)
def test_nothing_is_left_of_what_was_forgotten(impl):
    names = impl.Names()
    for number in range(50):
        block = Block(number)
        names.publish(b"%d" % number, block)
        names.withdraw(block)
    assert len(names) == 0
    assert not names.by_name, "the table grows with every prompt that was ever seen"


# ---------------------------------------------------------------- task 3: the lookup


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("num_tokens", "cached", "hits"),
    [
        (13, "abc", "abc"),
        (13, "ab", "ab"),
        (13, "", ""),
        (13, "bc", ""),
        (13, "ac", "a"),
        (12, "abc", "ab"),
        (15, "abc", "abc"),
        (4, "a", ""),
        (5, "a", "a"),
    ],
)
def test_the_longest_prefix_that_leaves_a_token(impl, num_tokens, cached, hits):
    known = {name: Block(ord(name)) for name in cached}
    names = list("abc")[: num_tokens // 4]
    found = impl.longest_hit(names, known.get, num_tokens, 4)
    assert ids(found) == [ord(name) for name in hits]


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("cached", "asked"), [("", "a"), ("a", "ab"), ("abcd", "abc"), ("bd", "a")]
)
def test_after_the_first_miss_nobody_is_asked(impl, cached, asked):
    questions = []

    def find(name):
        questions.append(name)
        return Block(ord(name)) if name in cached else None

    impl.longest_hit(list("abcd"), find, 16, 4)
    assert "".join(questions) == asked


@pytest.mark.task(3)
def test_looking_changes_nothing(impl):
    block = Block(7, ref_cnt=0, block_hash=b"a")
    assert impl.longest_hit([b"a"], {b"a": block}.get, 9, 4) == [block]
    assert (block.ref_cnt, block.block_hash, block.is_linked) == (0, b"a", False)


# ---------------------------------------------------------------- task 4: room


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("num_tokens", "holders", "num_free", "new"),
    [
        (9, [], 3, 3),
        (9, [], 2, None),
        (8, [], 2, 2),
        (9, [1], 2, 2),
        (9, [1], 1, None),
        (9, [0], 3, 2),
        (9, [0], 2, None),
        (9, [2, 0], 2, 1),
        (9, [2, 0], 1, None),
        (9, [0, 0], 2, None),
        (9, [0, 0], 3, 1),
        (1, [], 1, 1),
        (1, [], 0, None),
    ],
)
def test_a_free_hit_is_not_free_of_charge(impl, num_tokens, holders, num_free, new):
    hits = [Block(n, ref_cnt=count) for n, count in enumerate(holders, start=1)]
    assert impl.room_for(num_tokens, 4, hits, num_free) == new
    assert [block.ref_cnt for block in hits] == holders
