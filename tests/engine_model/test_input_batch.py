"""Rows of the batch under arrivals, departures and moves; slots of the block table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mini_vllm.sampling_params import SamplingParams
from mini_vllm.worker.block_table import BlockTable
from mini_vllm.worker.input_batch import CachedRequestState, InputBatch

MAX_REQS, MAX_LEN, BLOCK = 5, 24, 4


def make_batch(**changes):
    sizes = {
        "max_num_reqs": MAX_REQS,
        "max_model_len": MAX_LEN,
        "block_size": BLOCK,
        "vocab_size": 50,
    }
    return InputBatch(**{**sizes, **changes})


def make_request(req_id, prompt, output=(), computed=0, **params):
    blocks = [100 * int(req_id) + i for i in range(-(-(len(prompt) + len(output)) // BLOCK))]
    return CachedRequestState(
        req_id, list(prompt), SamplingParams(**params), blocks, computed, list(output)
    )


class TestBlockTable:
    @given(st.integers(1, 40), st.data())
    @settings(max_examples=50, deadline=None)
    def test_slots_are_the_formula(self, block_size, data):
        table = BlockTable(block_size, 3, 100)
        rows = []
        for row in range(3):
            length = data.draw(st.integers(1, 100))
            ids = data.draw(
                st.lists(
                    st.integers(1, 10**6),
                    min_size=-(-length // block_size),
                    max_size=-(-length // block_size),
                )
            )
            table.add_row(row, ids)
            rows += [(row, position, ids) for position in range(length)]
        slots = table.slot_mapping(
            np.array([r for r, _, _ in rows]), np.array([p for _, p, _ in rows])
        )
        expected = [ids[p // block_size] * block_size + p % block_size for _, p, ids in rows]
        assert slots.dtype == np.int64
        assert slots.tolist() == expected

    def test_a_big_block_id_does_not_overflow(self):
        table = BlockTable(128, 1, 128)
        table.add_row(0, [2**31 - 1])
        assert table.slot_mapping(np.array([0]), np.array([127])).tolist() == [2**38 - 1]

    def test_rows_grow_move_and_begin_anew(self):
        table = BlockTable(4, 2, 16)
        table.add_row(0, [5, 6])
        table.append_row(0, [7])
        table.move_row(0, 1)
        assert table.block_ids[1, :3].tolist() == [5, 6, 7]
        assert table.num_blocks.tolist() == [3, 3]
        table.add_row(0, [9])
        assert table.num_blocks.tolist() == [1, 3]
        assert table.block_ids[1, :3].tolist() == [5, 6, 7]

    def test_a_row_has_an_end(self):
        table = BlockTable(4, 1, 15)
        table.add_row(0, [1, 2, 3, 4])
        with pytest.raises(IndexError, match="5 blocks in a row of at most 4"):
            table.append_row(0, [5])


class TestSamplingState:
    def test_what_no_row_uses_is_none(self):
        batch = make_batch()
        batch.add_request(make_request("1", [1, 2], temperature=0.0))
        batch.condense()
        metadata = batch.sampling_metadata()
        assert metadata.all_greedy
        assert (metadata.top_k, metadata.top_p, metadata.penalties) == (None, None, None)
        assert metadata.generators == {}
        assert metadata.num_logprobs == {}

    def test_a_mixed_batch(self):
        batch = make_batch()
        batch.add_request(make_request("1", [1, 2], temperature=0.0, logprobs=3))
        batch.add_request(make_request("2", [1, 2], temperature=0.5, top_k=4, top_p=0.9))
        seeded = make_request("3", [1, 2], temperature=2.0, top_k=1000)
        seeded.generator = torch.Generator()
        batch.add_request(seeded)
        batch.condense()
        metadata = batch.sampling_metadata()
        assert metadata.temperature.tolist() == [0.0, 0.5, 2.0]
        assert metadata.top_k.tolist() == [50, 4, 50]
        assert metadata.top_p.tolist() == pytest.approx([1.0, 0.9, 1.0])
        assert not metadata.all_random
        assert metadata.generators == {2: seeded.generator}
        assert metadata.num_logprobs == {0: 3}

    def test_a_subset_is_renumbered(self):
        batch = make_batch()
        for i, temperature in enumerate([0.0, 0.5, 2.0]):
            request = make_request(str(i), [1], temperature=temperature, logprobs=i)
            request.generator = torch.Generator() if i else None
            batch.add_request(request)
        batch.condense()
        metadata = batch.sampling_metadata([1, 2])
        assert metadata.rows == [1, 2]
        assert metadata.all_random
        assert sorted(metadata.generators) == [0, 1]
        assert metadata.num_logprobs == {0: 1, 1: 2}
        assert batch.sampling_metadata([0]).all_greedy

    def test_it_is_kept_until_the_batch_changes(self):
        batch = make_batch()
        batch.add_request(make_request("1", [1]))
        batch.condense()
        first = batch.sampling_metadata()
        batch.append_token(0, 7)
        batch.condense()
        assert batch.sampling_metadata() is first
        batch.add_request(make_request("2", [1]))
        batch.condense()
        assert batch.sampling_metadata() is not first


class Rows(RuleBasedStateMachine):
    """Whatever comes and goes, rows 0 to n - 1 hold exactly what a dictionary holds."""

    @initialize()
    def start(self):
        self.batch = make_batch()
        self.model: dict[str, CachedRequestState] = {}
        self.next_id = 0

    @rule(data=st.data())
    def step(self, data):
        leaving = data.draw(st.sets(st.sampled_from(sorted(self.model)))) if self.model else ()
        for req_id in sorted(leaving):
            self.batch.remove_request(req_id)
            del self.model[req_id]
        for _ in range(data.draw(st.integers(0, MAX_REQS - len(self.model)))):
            prompt = data.draw(st.lists(st.integers(2, 49), min_size=1, max_size=12))
            output = data.draw(st.lists(st.integers(2, 49), max_size=4))
            request = make_request(
                str(self.next_id),
                prompt,
                output,
                computed=data.draw(st.integers(0, len(prompt) - 1)),
                temperature=data.draw(st.sampled_from([0.0, 0.7])),
                top_k=data.draw(st.sampled_from([0, 5])),
                top_p=data.draw(st.sampled_from([1.0, 0.4])),
                min_p=data.draw(st.sampled_from([0.0, 0.2])),
            )
            self.next_id += 1
            self.model[request.req_id] = request
            self.batch.add_request(request)
        self.batch.condense()

    @rule(token=st.integers(2, 49))
    def everybody_draws(self, token):
        for row in range(self.batch.num_reqs):
            if self.batch.num_tokens[row] < MAX_LEN:
                self.batch.append_token(row, token)

    @rule()
    def an_unknown_request_leaves(self):
        self.batch.remove_request("nobody")

    @invariant()
    def rows_match(self):
        batch = self.batch
        assert batch.num_reqs == len(self.model) == len(batch.requests)
        assert sorted(batch.req_ids) == sorted(self.model)
        for row, req_id in enumerate(batch.req_ids):
            request = self.model[req_id]
            tokens = request.prompt_token_ids + request.output_token_ids
            assert batch.row_of[req_id] == row
            assert batch.requests[row] is request
            assert batch.num_tokens[row] == len(tokens)
            assert batch.token_ids[row, : len(tokens)].tolist() == tokens
            assert batch.num_computed_tokens[row] == request.num_computed_tokens
            count = batch.block_table.num_blocks[row]
            assert batch.block_table.block_ids[row, :count].tolist() == request.block_ids
        params = [self.model[r].sampling_params for r in batch.req_ids]
        metadata = batch.sampling_metadata()
        expected = [p.temperature for p in params]
        if any(expected):
            assert metadata.temperature.tolist() == pytest.approx(expected)
        else:
            assert metadata.all_greedy
        if metadata.top_k is not None:
            assert metadata.top_k.tolist() == [p.top_k or 50 for p in params]
        else:
            assert not any(p.top_k for p in params)
        if metadata.top_p is not None:
            assert metadata.top_p.tolist() == pytest.approx([p.top_p for p in params])
        else:
            assert all(p.top_p == 1.0 for p in params)
        min_p = metadata.processors.argmax_invariant[0]
        assert min_p._min_p[: len(params)].tolist() == pytest.approx([p.min_p for p in params])


TestRows = Rows.TestCase
TestRows.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


def test_a_full_batch_refuses():
    batch = make_batch()
    for i in range(MAX_REQS):
        batch.add_request(make_request(str(i), [1]))
    with pytest.raises(IndexError, match="a batch of 5 rows is full"):
        batch.add_request(make_request("9", [1]))


def test_arrivals_fill_the_lowest_holes_and_the_last_rows_the_rest():
    batch = make_batch()
    for i in range(MAX_REQS):
        batch.add_request(make_request(str(i), [1]))
    batch.condense()
    for req_id in ("3", "0", "1"):
        batch.remove_request(req_id)
    assert batch.add_request(make_request("9", [1])) == 0
    batch.condense()
    assert batch.req_ids == ["9", "4", "2"]


def test_the_last_token_of_the_longest_text_has_no_place_and_needs_none():
    batch = make_batch(max_model_len=3)
    batch.add_request(make_request("1", [1, 2, 3]))
    batch.condense()
    batch.append_token(0, 4)
    assert batch.requests[0].output_token_ids == [4]
    assert batch.num_tokens[0] == 4
