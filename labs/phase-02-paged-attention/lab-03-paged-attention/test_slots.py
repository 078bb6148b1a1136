r"""Lab 03: where a token is written. `test_lab.py` has tasks 3 to 7, and reads."""

from __future__ import annotations

import numpy as np
import pytest

# ---------------------------------------------------------------- task 1: slots


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("row", "position", "slot"),
    [(0, 0, 28), (0, 3, 31), (0, 4, 8), (0, 9, 21), (1, 2, 14), (1, 7, 39), (-1, 0, -1)],
)
def test_two_divisions_find_a_token(impl, row, position, slot):
    table = np.array([[7, 2, 5], [3, 9, 0]])
    assert impl.slot_mapping(table, np.array([row]), np.array([position]), 4).tolist() == [slot]


@pytest.mark.task(1)
def test_tokens_of_many_requests_at_once(impl):
    table = np.array([[1, 2, 3], [6, 5, 4]])
    rows, positions = np.array([1, 0, 0, -1, 1]), np.array([5, 0, 3, 77, 0])
    slots = impl.slot_mapping(table, rows, positions, 2)
    assert slots.tolist() == [9, 2, 5, -1, 12]
    assert positions.tolist() == [5, 0, 3, 77, 0], "the positions are not yours to change"


# ---------------------------------------------------------------- task 2: the write


@pytest.mark.task(2)
def test_each_token_lands_in_its_slot_and_nowhere_else(impl):
    k_cache, v_cache = np.zeros((2, 4, 3, 2, 5))
    keys = np.arange(1, 31, dtype=float).reshape(3, 2, 5)
    impl.write_kv(keys, -keys, k_cache, v_cache, np.array([7, 0, 11]))
    for place, token in {(2, 1): 0, (0, 0): 1, (3, 2): 2}.items():
        assert np.array_equal(k_cache[place], keys[token])
        assert np.array_equal(v_cache[place], -keys[token])
    assert np.count_nonzero(k_cache) == np.count_nonzero(v_cache) == 30


@pytest.mark.task(2)
def test_padding_goes_nowhere(impl):
    caches = np.zeros((2, 3, 2, 1, 4))
    tokens = np.full((4, 1, 4), 9.0)
    tokens[1] = 1.0
    impl.write_kv(tokens, tokens, *caches, np.array([-1, 2, -1, -1]))
    assert np.count_nonzero(caches) == 8
    assert (caches[:, 1, 0] == 1).all()


@pytest.mark.task(1, 2)
def test_a_key_lies_where_the_table_says(impl, truth):
    caches = np.zeros((2, 8, 4, 1, 1))
    slots = impl.slot_mapping(np.array([[7, 2, 5]]), np.array([0]), np.array([9]), 4)
    impl.write_kv(np.ones((1, 1, 1)), np.ones((1, 1, 1)), *caches, slots)
    [slot] = np.flatnonzero(caches[0])
    truth("slot", slot)
    assert slot == 21
