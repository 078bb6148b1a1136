"""From scores to tokens: exact filters, and draws whose frequencies are tested by chi-square."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mini_vllm.sample.logits_processors import (
    BatchUpdate,
    LogitsProcessors,
    MinPLogitsProcessor,
    MinTokensLogitsProcessor,
)
from mini_vllm.sample.metadata import SamplingMetadata
from mini_vllm.sample.penalties import Penalties, apply_penalties
from mini_vllm.sample.sampler import Sampler
from mini_vllm.sample.top_k_top_p import HEAD, apply_top_k_top_p
from mini_vllm.sampling_params import SamplingParams

#: A fair sampler fails a test at this level once in ten thousand seeds; the seeds are fixed.
SIGNIFICANCE = 1e-4
DRAWS = 8000


def metadata(num_rows, temperature=None, **more):
    if temperature is not None and not isinstance(temperature, torch.Tensor):
        temperature = torch.full((num_rows,), float(temperature))
    all_random = temperature is not None and bool((temperature > 0).all())
    return SamplingMetadata(
        rows=list(range(num_rows)), temperature=temperature, all_random=all_random, **more
    )


def draw_many(logits, *, seed=0, **more):
    """`DRAWS` draws from one row of scores, as one batch."""
    rows = logits.expand(DRAWS, -1).contiguous()
    more = {
        name: torch.full((DRAWS,), value) if name in ("top_k", "top_p") else value
        for name, value in more.items()
    }
    return Sampler(seed)(rows, metadata(DRAWS, **more)).token_ids


def assert_follows(tokens, probs):
    """The frequencies of `tokens` are those of `probs`; what has none was never drawn."""
    counts = torch.bincount(tokens, minlength=len(probs)).double()
    assert counts[probs == 0].sum() == 0
    possible = probs > 0
    expected = probs[possible].double() / probs[possible].double().sum() * len(tokens)
    assert (expected > 5).all(), "too few draws for the test"
    if len(expected) == 1:
        return
    assert chisquare(counts[possible], expected).pvalue > SIGNIFICANCE


PROBS = torch.tensor([0.40, 0.25, 0.15, 0.10, 0.06, 0.04])
LOGITS = PROBS.log()


class TestDistribution:
    def test_the_test_has_teeth(self):
        wrong = torch.tensor([0.36, 0.29, 0.15, 0.10, 0.06, 0.04])
        with pytest.raises(AssertionError):
            assert_follows(draw_many(LOGITS, temperature=1.0), wrong)

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
    def test_temperature(self, temperature):
        tokens = draw_many(LOGITS, temperature=temperature)
        assert_follows(tokens, (LOGITS / temperature).softmax(0))

    @pytest.mark.parametrize("k", [1, 3, 6])
    def test_top_k(self, k):
        kept = torch.where(torch.arange(6) < k, PROBS, 0.0)
        assert_follows(draw_many(LOGITS, temperature=1.0, top_k=k), kept)

    @pytest.mark.parametrize(("p", "kept"), [(0.39, 1), (0.5, 2), (0.7, 3), (0.95, 5), (1.0, 6)])
    def test_top_p(self, p, kept):
        expected = torch.where(torch.arange(6) < kept, PROBS, 0.0)
        assert_follows(draw_many(LOGITS, temperature=1.0, top_p=p), expected)

    def test_top_k_then_top_p_of_what_is_left(self):
        # Of 0.40, 0.25, 0.15 the first two are 81 % of the sum; of all six they are 65 %.
        expected = torch.where(torch.arange(6) < 2, PROBS, 0.0)
        assert_follows(draw_many(LOGITS, temperature=1.0, top_k=3, top_p=0.8), expected)

    def test_min_p_after_temperature(self):
        processor = MinPLogitsProcessor(DRAWS)
        params = SamplingParams(min_p=0.35)
        processor.update_state(BatchUpdate(added=[(row, params, []) for row in range(DRAWS)]))
        processors = LogitsProcessors.of([processor])
        at_two = (LOGITS / 2).softmax(0)
        kept = torch.where(at_two >= 0.35 * at_two.max(), at_two, 0.0)
        assert (kept > 0).sum() == 5, "the case should cut one token"
        assert_follows(draw_many(LOGITS, temperature=2.0, processors=processors), kept)

    def test_penalties(self):
        params = SamplingParams()
        params.presence_penalty, params.frequency_penalty = 0.5, 0.25
        params.repetition_penalty = 1.3
        logits = torch.tensor([1.0, 0.5, 0.2, -0.3, -0.5, -0.2])
        expected = logits.clone()
        # said: 0 twice, 3 once; in the prompt: 1 and 3
        expected[[0, 1]] /= 1.3
        expected[3] *= 1.3
        expected[0] -= 2 * 0.25 + 0.5
        expected[3] -= 0.25 + 0.5
        penalties = Penalties(
            rows=range(DRAWS),
            prompts=[[1, 3]] * DRAWS,
            outputs=[[0, 3, 0]] * DRAWS,
            params=[params] * DRAWS,
        )
        tokens = draw_many(logits, temperature=1.0, penalties=penalties)
        assert_follows(tokens, expected.softmax(0))

    def test_seeded_rows_follow_it_as_well(self):
        generators = {row: torch.Generator().manual_seed(row) for row in range(DRAWS)}
        tokens = draw_many(LOGITS, temperature=1.0, generators=generators)
        assert_follows(tokens, PROBS)

    def test_rows_without_a_seed_among_seeded_ones_follow_it(self):
        generators = {row: torch.Generator().manual_seed(row) for row in range(0, DRAWS, 2)}
        tokens = draw_many(LOGITS, temperature=1.0, generators=generators)
        assert_follows(tokens[1::2], PROBS)

    def test_rows_are_independent(self):
        tokens = draw_many(torch.zeros(2), temperature=1.0)
        pairs = 2 * tokens[::2] + tokens[1::2]
        assert_follows(pairs, torch.full((4,), 0.25))


class TestTopP:
    def test_the_boundary_token_is_kept__nano_vllm_pr_260(self):
        """The token that crosses the line belongs to the set; a patch to a peer dropped it."""
        probs = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
        for p, kept in [(0.4, 1), (0.5, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.951, 4)]:
            logits = apply_top_k_top_p(probs.log(), None, torch.tensor([p]))
            assert int(logits.isfinite().sum()) == kept, p

    def test_ties_at_the_boundary_go_by_id(self):
        logits = torch.zeros(1, 1000)
        kept = apply_top_k_top_p(logits, None, torch.tensor([0.01]))[0].isfinite()
        assert kept.nonzero().flatten().tolist() == list(range(10))

    @given(
        st.lists(
            st.tuples(st.integers(0, 2**20), st.floats(0.01, 1.0), st.floats(0.1, 6.0)),
            min_size=1,
            max_size=4,
        ),
        st.integers(2, 3 * HEAD),
    )
    @settings(max_examples=60, deadline=None)
    def test_is_the_smallest_set_that_reaches_p(self, rows, vocab_size):
        logits = torch.stack(
            [
                torch.randn(vocab_size, generator=torch.Generator().manual_seed(seed)) * spread
                for seed, _, spread in rows
            ]
        )
        top_p = torch.tensor([p for _, p, _ in rows])
        kept = apply_top_k_top_p(logits.clone(), None, top_p).isfinite()
        probs = logits.double().softmax(-1)
        for row, p in enumerate(top_p.tolist()):
            inside, outside = probs[row][kept[row]], probs[row][~kept[row]]
            assert inside.numel() >= 1
            assert inside.sum() >= p - 1e-5 or outside.numel() == 0
            assert inside.sum() - inside.min() < p + 1e-5, "one token too many"
            if outside.numel():
                assert outside.max() <= inside.min() + 1e-9

    def test_ties_with_the_kth_are_kept(self):
        logits = torch.tensor([[3.0, 1.0, 1.0, 0.0]])
        kept = apply_top_k_top_p(logits, torch.tensor([2]), None).isfinite()
        assert kept.tolist() == [[True, True, True, False]]

    def test_a_neighbours_top_p_does_not_cut_the_rarest_tokens_of_a_row_without_one(self):
        """In float32 the sum of all probabilities but the last reaches 1: not less than top_p."""
        logits = torch.tensor([[0.0, -30.0, -60.0], [0.0, 0.0, 0.0]])
        kept = apply_top_k_top_p(logits, None, torch.tensor([1.0, 0.5])).isfinite()
        assert kept.tolist() == [[True, True, True], [True, True, False]]

    def test_rows_without_a_filter_are_untouched(self):
        logits = torch.randn(3, 10)
        before = logits.clone()
        out = apply_top_k_top_p(logits, torch.tensor([10, 2, 10]), torch.tensor([1.0, 1.0, 0.5]))
        assert torch.equal(out[0], before[0])
        assert int(out[1].isfinite().sum()) == 2
        assert int(out[2].isfinite().sum()) < 10


class TestGreedy:
    def test_per_row_in_a_mixed_batch(self):
        logits = torch.randn(6, 50)
        temperature = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
        tokens = Sampler()(logits, metadata(6, temperature)).token_ids
        assert tokens[::2].tolist() == logits[::2].argmax(-1).tolist()

    def test_filters_of_the_neighbours_do_not_reach_a_greedy_row(self):
        logits = torch.randn(2, 50)
        more = {"top_k": torch.tensor([50, 1]), "top_p": torch.tensor([1.0, 0.01])}
        tokens = Sampler()(logits, metadata(2, torch.tensor([0.0, 5.0]), **more)).token_ids
        assert tokens.tolist() == logits.argmax(-1).tolist()

    def test_one_argmax_and_nothing_else(self, monkeypatch):
        """The fast path: no softmax, no copy, no random number."""
        sampler, logits = Sampler(), torch.randn(4, 50)
        monkeypatch.setattr(torch.Tensor, "softmax", None)
        monkeypatch.setattr(torch.Tensor, "exponential_", None)
        monkeypatch.setattr(torch.Tensor, "to", None)
        processors = LogitsProcessors.builtin(4)
        tokens = sampler(logits, metadata(4, processors=processors)).token_ids
        assert tokens.tolist() == logits.argmax(-1).tolist()

    def test_scores_are_not_modified__nano_vllm_170(self):
        """A peer divides in place: fp32 inference tensors then raise, and logprobs are spoilt."""
        with torch.inference_mode():
            logits = torch.randn(3, 20)
        before = logits.clone()
        more = {"top_k": torch.tensor([3] * 3), "top_p": torch.tensor([0.9] * 3)}
        Sampler()(logits, metadata(3, 0.7, num_logprobs={0: 2}, **more))
        assert torch.equal(logits, before)

    def test_a_batch_of_several_rows_has_several_tokens__minisgl_98(self):
        """A peer's last-token selection had the wrong shape for more than one request."""
        output = Sampler()(torch.randn(5, 30), metadata(5))
        assert output.token_ids.shape == (5,)
        with pytest.raises(ValueError, match="4 rows of scores, metadata for 5"):
            Sampler()(torch.randn(4, 30), metadata(5))


class TestSeeds:
    def test_a_seed_decides_whatever_shares_the_batch__minisgl_88(self):
        """A peer's sampler was unseeded; here a row's draws depend on its own generator only."""
        row = torch.randn(40)
        seen = set()
        for position, size in [(0, 1), (0, 5), (3, 5), (7, 8)]:
            logits = torch.randn(size, 40)
            logits[position] = row
            generators = {position: torch.Generator().manual_seed(7)}
            sampler = Sampler(seed=size)
            tokens = []
            for _ in range(6):
                output = sampler(logits, metadata(size, 1.0, generators=generators))
                tokens.append(int(output.token_ids[position]))
            seen.add(tuple(tokens))
        assert len(seen) == 1

    def test_the_engines_seed_decides_the_rest(self):
        logits = torch.randn(4, 200)
        a, b, c = (Sampler(seed)(logits, metadata(4, 1.0)).token_ids.tolist() for seed in (1, 1, 2))
        assert a == b
        assert a != c

    def test_the_race_survives_impossible_tokens(self, monkeypatch):
        """A probability of zero never wins, also with a waiting time of zero: 0 / 0 is a NaN."""
        logits = torch.tensor([[0.0, 1.0, 0.0]]).log()
        assert Sampler()(logits, metadata(1, 1.0)).token_ids.tolist() == [1]
        monkeypatch.setattr(torch.Tensor, "exponential_", lambda waits, generator: waits.zero_())
        assert Sampler()(logits, metadata(1, 1.0)).token_ids.tolist() == [1]


class TestMinTokens:
    def make(self, min_tokens, output, stops=(2,)):
        params = SamplingParams(min_tokens=min_tokens, max_tokens=50, stop_token_ids=list(stops))
        return (0, params, output)

    def test_stop_tokens_are_forbidden_until_there_are_enough(self):
        output: list[int] = []
        processor = MinTokensLogitsProcessor()
        processor.update_state(BatchUpdate(added=[self.make(2, output, (2, 4))]))
        for said, forbidden in [(0, True), (1, True), (2, False)]:
            output[:] = [9] * said
            processor.update_state(None)
            scores = processor.apply(torch.zeros(1, 6), [0])
            assert scores[0, [2, 4]].isinf().all() == forbidden
            assert scores[0, [0, 1, 3, 5]].tolist() == [0.0] * 4
        assert processor.is_idle()

    def test_it_changes_the_greedy_choice(self):
        processors = LogitsProcessors.builtin(4)
        processors.update_state(BatchUpdate(added=[self.make(1, [])]))
        logits = torch.tensor([[0.0, 1.0, 5.0]])
        assert Sampler()(logits, metadata(1, processors=processors)).token_ids.tolist() == [1]

    def test_reported_logprobs_are_the_models_own(self):
        processors = LogitsProcessors.builtin(4)
        processors.update_state(BatchUpdate(added=[self.make(1, [])]))
        logits = torch.tensor([[0.0, 1.0, 5.0]])
        output = Sampler()(logits, metadata(1, processors=processors, num_logprobs={0: 1}))
        found = output.logprobs[0]
        assert found.token_ids == [1, 2]
        assert found.rank == 2
        assert found.logprobs == pytest.approx(logits.log_softmax(-1)[0, [1, 2]].tolist())

    def test_a_move_overwrites_its_target(self):
        processor = MinTokensLogitsProcessor()
        waiting, free = self.make(2, [])[1:], (SamplingParams(), [])
        processor.update_state(BatchUpdate(added=[(0, *waiting), (1, *free)], moved=[(1, 0)]))
        assert processor.is_idle()

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_both_rules_follow_their_rows(self, data):
        """Against a plain dictionary, under random removals, additions and moves."""
        size = 6
        min_tokens, min_p = MinTokensLogitsProcessor(), MinPLogitsProcessor(size)
        rows: dict[int, SamplingParams] = {}
        for _ in range(data.draw(st.integers(1, 6))):
            removed = data.draw(st.sets(st.sampled_from(sorted(rows)))) if rows else set()
            for row in removed:
                del rows[row]
            added = []
            for row in data.draw(st.sets(st.integers(0, size - 1), max_size=3)):
                if row not in rows:
                    params = SamplingParams(
                        min_tokens=data.draw(st.sampled_from([0, 3])),
                        min_p=data.draw(st.sampled_from([0.0, 0.5])),
                        stop_token_ids=[1],
                    )
                    rows[row] = params
                    added.append((row, params, []))
            moved = []
            free = [r for r in range(size) if r not in rows]
            if rows and free and data.draw(st.booleans()):
                source, target = max(rows), free[0]
                rows[target] = rows.pop(source)
                moved.append((source, target))
            removed -= {row for row, _, _ in added}
            update = BatchUpdate(sorted(removed), added, moved)
            min_tokens.update_state(update)
            min_p.update_state(update)
        logits = torch.tensor([[2.0, 0.0, 1.9, -9.0]]).repeat(size, 1)
        masked = min_tokens.apply(logits.clone(), range(size))
        cut = min_p.apply(logits.clone(), range(size))
        for row in range(size):
            params = rows.get(row)
            assert bool(masked[row, 1].isinf()) == bool(params and params.min_tokens)
            assert bool(cut[row, 3].isinf()) == bool(params and params.min_p)


class TestLogprobs:
    def test_token_rank_and_rivals(self):
        logits = torch.tensor([[1.0, 3.0, 2.0, 0.0], [0.0, 0.0, 0.0, 9.0]])
        output = Sampler()(logits, metadata(2, num_logprobs={0: 2, 1: 0}))
        exact = logits.log_softmax(-1)
        first, second = output.logprobs[0], output.logprobs[1]
        assert first.token_ids == [1, 1, 2]
        assert first.rank == 1
        assert first.logprobs == pytest.approx(exact[0, [1, 1, 2]].tolist())
        assert second.token_ids == [3]

    def test_minus_one_is_the_whole_vocabulary(self):
        logits = torch.randn(1, 12)
        found = Sampler()(logits, metadata(1, num_logprobs={0: -1})).logprobs[0]
        assert sorted(found.token_ids[1:]) == list(range(12))
        assert math.fsum(math.exp(p) for p in found.logprobs[1:]) == pytest.approx(1.0, abs=1e-5)

    def test_the_rank_of_a_drawn_token(self):
        logits = torch.randn(64, 30)
        output = Sampler(5)(logits, metadata(64, 3.0, num_logprobs=dict.fromkeys(range(64), 0)))
        for row, token in enumerate(output.token_ids.tolist()):
            at_least = int((logits[row] >= logits[row, token]).sum())
            assert output.logprobs[row].rank == at_least

    def test_nobody_pays_who_did_not_ask(self):
        assert Sampler()(torch.randn(2, 5), metadata(2)).logprobs == {}


def test_penalties_touch_the_paying_rows_only():
    params = SamplingParams()
    params.frequency_penalty = 1.0
    logits = torch.zeros(3, 4)
    penalties = Penalties(rows=[1], prompts=[[0]], outputs=[[2, 2, 3]], params=[params])
    apply_penalties(logits, penalties)
    assert logits.tolist() == [[0.0] * 4, [0.0, 0.0, -2.0, -1.0], [0.0] * 4]
    assert Penalties.wanted_by(params)
    assert not Penalties.wanted_by(SamplingParams())
