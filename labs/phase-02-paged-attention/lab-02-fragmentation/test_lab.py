r"""Lab 02: three memories, each alone, and then all of them on one trace."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples

CHOICES = ("under 25 %", "25 to 50 %", "50 to 75 %", "over 75 %")


def assert_sound(memory):
    r"""No slot is given to two, none lies outside, and every token has a slot."""
    taken = Counter()
    for start, length, held in memory.spans():
        assert 0 <= held <= length
        assert start >= 0
        assert start + length <= memory.num_slots
        taken.update(range(start, start + length))
    assert not [slot for slot, count in taken.items() if count > 1], "a slot is given twice"
    assert sum(span.held for span in memory.spans()) == sum(memory.tokens.values())
    return len(taken)


# ---------------------------------------------------------------- task 1: cells


@pytest.mark.task(1)
def test_everyone_gets_a_cell_of_the_longest_text(impl):
    memory = impl.StaticMemory(100, 30)
    for name in "abc":
        assert memory.place(name, 5, 10) is True
    assert sorted(memory.cells.values()) == [0, 1, 2]
    assert memory.tokens == {"a": 5, "b": 5, "c": 5}
    assert memory.place("d", 1, 1) is False
    assert "d" not in memory.tokens
    assert "d" not in memory.cells
    assert assert_sound(memory) == 90


@pytest.mark.task(1)
def test_a_cell_is_given_again(impl):
    memory = impl.StaticMemory(90, 30)
    for name in "abc":
        memory.place(name, 5, 10)
    freed = memory.cells["b"]
    memory.remove("b")
    assert set(memory.tokens) == set(memory.cells) == {"a", "c"}
    assert memory.place("d", 7, 1) is True
    assert memory.cells["d"] == freed
    assert memory.place("e", 7, 1) is False


@pytest.mark.task(1)
@pytest.mark.parametrize(("prompt", "max_tokens"), [(31, 0), (20, 11), (1, 30)])
def test_what_may_outgrow_a_cell_is_refused(impl, prompt, max_tokens):
    memory = impl.StaticMemory(90, 30)
    with pytest.raises(ValueError, match="30"):
        memory.place("a", prompt, max_tokens)
    assert not memory.cells
    assert memory.place("a", 20, 10) is True


@pytest.mark.task(1)
def test_short_requests_take_as_much_as_long_ones(impl, truth):
    memory, placed = impl.StaticMemory(2048, 512), 0
    while memory.place(f"r{placed}", 40, 20):
        placed += 1
    truth("static-at-once", placed)
    assert placed == 4


# ---------------------------------------------------------------- task 2: stretches


def contiguous(impl, num_slots, free, **stretches):
    r"""A memory in the middle of its life, made without your code."""
    memory = impl.ContiguousMemory(num_slots)
    memory.free, memory.stretches = list(free), dict(stretches)
    memory.tokens = dict.fromkeys(stretches, 1)
    return memory


@pytest.mark.task(2)
def test_requests_lie_side_by_side(impl):
    memory = impl.ContiguousMemory(30)
    assert memory.place("a", 4, 6) is True
    assert memory.place("b", 1, 4) is True
    assert memory.stretches == {"a": (0, 10), "b": (10, 5)}
    assert memory.free == [(15, 15)]
    assert memory.tokens == {"a": 4, "b": 1}
    assert memory.place("c", 10, 5) is True
    assert memory.free == []
    assert memory.place("d", 1, 0) is False


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("wanted", "start", "free"),
    [
        (3, 0, [(3, 1), (10, 20), (40, 8), (60, 30)]),
        (4, 0, [(10, 20), (40, 8), (60, 30)]),
        (5, 10, [(0, 4), (15, 15), (40, 8), (60, 30)]),
        (8, 10, [(0, 4), (18, 12), (40, 8), (60, 30)]),
        (20, 10, [(0, 4), (40, 8), (60, 30)]),
        (21, 60, [(0, 4), (10, 20), (40, 8), (81, 9)]),
        (30, 60, [(0, 4), (10, 20), (40, 8)]),
    ],
)
def test_the_first_stretch_that_is_long_enough(impl, wanted, start, free):
    memory = contiguous(impl, 90, [(0, 4), (10, 20), (40, 8), (60, 30)])
    assert memory.place("a", 2, wanted - 2) is True
    assert memory.stretches["a"] == (start, wanted)
    assert memory.free == free


@pytest.mark.task(2)
def test_enough_in_pieces_is_not_enough(impl):
    memory = contiguous(impl, 50, [(0, 4), (10, 8)])
    assert memory.place("a", 1, 8) is False
    assert (memory.free, memory.stretches, memory.tokens) == ([(0, 4), (10, 8)], {}, {})


# ---------------------------------------------------------------- task 3: back again


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [(10, 5)]),
        ([(0, 4), (20, 5)], [(0, 4), (10, 5), (20, 5)]),
        ([(0, 10), (20, 5)], [(0, 15), (20, 5)]),
        ([(0, 4), (15, 5)], [(0, 4), (10, 10)]),
        ([(8, 2), (15, 5), (30, 1)], [(8, 12), (30, 1)]),
        ([(20, 5)], [(10, 5), (20, 5)]),
        ([(0, 4)], [(0, 4), (10, 5)]),
    ],
)
def test_stretches_that_touch_become_one(impl, before, after):
    memory = contiguous(impl, 50, before, a=(10, 5), b=(40, 9))
    memory.remove("a")
    assert memory.free == after
    assert memory.stretches == {"b": (40, 9)}
    assert memory.tokens == {"b": 1}


@pytest.mark.task(2, 3)
def test_half_of_the_memory_is_free_and_nothing_fits(impl, truth):
    memory = impl.ContiguousMemory(1000)
    for number in range(10):
        assert memory.place(f"r{number}", 40, 60)
    for number in range(0, 10, 2):
        memory.remove(f"r{number}")
    fitting = []
    for wanted in range(1, 501):
        if memory.place("new", wanted, 0):
            fitting.append(wanted)
            memory.remove("new")
    truth("largest-that-fits", max(fitting))
    assert fitting == list(range(1, 101))
    assert impl.ContiguousMemory(1000).place("new", 500, 0), "in one piece it would be easy"


# ---------------------------------------------------------------- task 4: blocks


@pytest.mark.task(4)
@pytest.mark.parametrize(("prompt", "blocks"), [(1, 1), (3, 1), (4, 1), (5, 2), (8, 2), (17, 5)])
def test_the_prompt_alone_is_paid_for(impl, prompt, blocks):
    memory = impl.PagedMemory(20, 4)
    assert memory.place("a", prompt, 1000) is True
    assert len(memory.tables["a"]) == blocks
    assert len(memory.free_blocks) == 5 - blocks
    assert memory.tokens == {"a": prompt}
    assert assert_sound(memory) == 4 * blocks


@pytest.mark.task(4)
def test_a_token_takes_a_block_only_when_the_last_one_is_full(impl):
    memory = impl.PagedMemory(12, 4)
    memory.place("a", 3, 9)
    [first] = memory.tables["a"]
    sizes = []
    while memory.grow("a"):
        sizes.append((memory.tokens["a"], len(memory.tables["a"])))
    assert sizes == [(4, 1), (5, 2), (6, 2), (7, 2), (8, 2), (9, 3), (10, 3), (11, 3), (12, 3)]
    assert memory.tables["a"][0] == first, "a table is append-only"
    assert memory.tokens["a"] == 12
    assert len(memory.tables["a"]) == 3


@pytest.mark.task(4)
def test_too_few_blocks_are_none(impl):
    memory = impl.PagedMemory(12, 4)
    memory.place("a", 5, 9)
    free = list(memory.free_blocks)
    assert memory.place("b", 5, 1) is False
    assert memory.free_blocks == free
    assert set(memory.tables) == set(memory.tokens) == {"a"}
    assert memory.place("c", 4, 1) is True
    assert memory.grow("c") is False
    assert memory.tokens == {"a": 5, "c": 4}
    memory.remove("a")
    assert len(memory.free_blocks) == 2
    assert set(memory.tables) == set(memory.tokens) == {"c"}
    assert memory.grow("c") is True
    assert assert_sound(memory) == 8


@pytest.mark.task(4)
def test_any_blocks_will_do(impl):
    r"""What a stretch cannot do: every second one leaves, and all that is free can be used."""
    memory = impl.PagedMemory(1000, 10)
    for number in range(10):
        memory.place(f"r{number}", 100, 0)
    for number in range(0, 10, 2):
        memory.remove(f"r{number}")
    assert memory.place("new", 500, 0) is True
    assert assert_sound(memory) == 1000


# ---------------------------------------------------------------- task 5: every slot


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("spans", "wanted", "expected"),
    [
        ([], None, (0, 0, 0, 100)),
        ([(0, 30, 10), (50, 20, 20)], None, (30, 20, 0, 50)),
        ([(0, 30, 10), (50, 20, 20)], 40, (30, 20, 50, 0)),
        ([(0, 30, 10), (50, 20, 20)], 50, (30, 20, 50, 0)),
        ([(0, 30, 10), (50, 20, 20)], 51, (30, 20, 0, 50)),
        ([(0, 100, 3)], 1, (3, 97, 0, 0)),
        ([(0, 99, 99)], 1, (99, 0, 1, 0)),
    ],
)
def test_four_classes_and_every_slot_in_one(impl, spans, wanted, expected):
    pieces = (impl.Span(*span) for span in spans)  # can be walked once
    found = impl.account(100, pieces, wanted)
    assert found == expected
    assert (found.held, found.idle) == (expected[0], expected[3])


# ---------------------------------------------------------------- task 6: block sizes


@pytest.mark.task(6)
@pytest.mark.parametrize(
    ("lengths", "block_size", "cost"),
    [
        ([16], 16, (0, 1)),
        ([17], 16, (15, 2)),
        ([1, 15, 16, 33], 16, (15 + 1 + 0 + 15, 6)),
        ([5, 9], 1, (0, 14)),
        ([5, 9], 64, (59 + 55, 2)),
        ([], 16, (0, 0)),
    ],
)
def test_big_blocks_cost_slots_and_small_ones_cost_entries(impl, lengths, block_size, cost):
    assert impl.block_size_costs(lengths, block_size) == cost


@pytest.mark.task(6)
def test_half_a_block_on_average(impl, truth):
    lengths = range(1, 1601)
    cost = impl.block_size_costs(lengths, 16)
    truth("tail", cost.unused_slots / len(lengths))
    assert cost.unused_slots / len(lengths) == 7.5
    assert cost.table_entries == sum(range(1, 101)) * 16


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 4)
@examples(60)
@given(
    kind=st.sampled_from(["static", "contiguous", "paged"]),
    moves=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20), st.integers(0, 12))),
)
def test_no_sequence_gives_a_slot_twice(impl, kind, moves):
    memory = impl.memories(num_slots=96, max_len=32, block_size=4)[kind]
    allowed = {}
    for number, prompt, max_tokens in moves:
        name = f"r{number}"
        if name not in memory.tokens:
            before = dict(memory.tokens)
            if memory.place(name, prompt, max_tokens):
                assert memory.tokens == {**before, name: prompt}
                allowed[name] = max_tokens
            else:
                assert memory.tokens == before
        elif allowed[name] and memory.grow(name):
            allowed[name] -= 1
        else:
            memory.remove(name)
        assert_sound(memory)
        if kind == "contiguous":
            ends = [end for start, length in memory.free for end in (start, start + length)]
            assert ends == sorted(set(ends)), "free stretches touch, or are out of order"
    for name in list(memory.tokens):
        memory.remove(name)
    assert assert_sound(memory) == 0
    if kind == "contiguous":
        assert memory.free == [(0, 96)]


@pytest.mark.task(1, 2, 3, 4, 5)
def test_the_same_trace_in_three_memories(impl, truth):
    trace = impl.made_up_trace()
    runs = {name: impl.replay(trace, memory) for name, memory in impl.memories().items()}
    for moments in runs.values():
        assert all(sum(moment.account) == 2048 for moment in moments)
        assert moments[-1].waiting == 0
    shares = {name: impl.share_held(moments, 2048) for name, moments in runs.items()}
    truth("static-share", CHOICES[int(4 * shares["static"])])
    truth("paged-share", CHOICES[int(4 * shares["paged"])])
    assert shares["static"] < shares["contiguous"] < shares["paged"]
    steps = {name: len(moments) for name, moments in runs.items()}
    assert steps["static"] > steps["contiguous"] > steps["paged"]
    assert any(moment.account.external for moment in runs["contiguous"])
    for moment in runs["paged"]:
        assert moment.account.external == 0, "any block is as good as any other"
        assert moment.account.internal <= 15 * moment.running, "at most the last block is not full"
    assert max(moment.running for moment in runs["static"]) == 4
