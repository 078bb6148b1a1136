"""The sampler's kernels: the race, the filters, the chosen token's log-probability."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.kernels.triton import chosen_logprobs as chosen
from mini_vllm.kernels.triton import race as racing
from mini_vllm.kernels.triton import top_k_top_p
from mini_vllm.kernels.triton.counting import count_traffic
from mini_vllm.sample import top_k_top_p as oracle
from mini_vllm.sample.kernels import best_tokens
from mini_vllm.sampling_params import GREEDY_BELOW

INFINITY = float("inf")


def scores_and_waits(rows: int, vocab: int, seed: int = 0):
    draw = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(rows, vocab, generator=draw)
    waits = torch.empty(rows, vocab).exponential_(generator=draw)
    return scores, waits.clamp_min_(torch.finfo(torch.float32).tiny)


class TestRace:
    @given(st.integers(1, 4), st.integers(1, 300), st.integers(0, 999))
    @settings(max_examples=20, deadline=None)
    def test_equals_the_reference(self, rows: int, vocab: int, seed: int) -> None:
        scores, waits = scores_and_waits(rows, vocab, seed)
        heat = torch.tensor([0.0, 1.0, 0.3, 2.0])[:rows]
        found = racing.race(scores, heat, waits)
        assert torch.equal(found, racing.race_reference(scores, heat, waits))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_equals_the_race_of_the_sampler_over_several_pieces(self, dtype, monkeypatch) -> None:
        monkeypatch.setattr(racing, "BLOCK", 64)
        scores, waits = scores_and_waits(3, 300)
        scores, heat = scores.to(dtype), torch.tensor([1.0, 0.7, 1.9])
        probs = (scores.float() / heat[:, None]).softmax(dim=-1)
        assert torch.equal(racing.race(scores, heat, waits), best_tokens(probs / waits))

    def test_greedy_rows_take_the_first_of_the_best(self, monkeypatch) -> None:
        monkeypatch.setattr(racing, "BLOCK", 4)
        scores = torch.tensor([[1.0, 5.0, 5.0, 0.0, 5.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
        assert racing.best_tokens(scores).tolist() == [1, 0]
        noise = torch.full_like(scores, 1e-9)
        assert racing.race(scores, torch.zeros(2), noise).tolist() == [1, 0]
        just = torch.tensor([GREEDY_BELOW / 2, 0.0])
        assert racing.race(scores, just, noise).tolist() == [1, 0]

    def test_a_masked_token_never_wins(self) -> None:
        scores, waits = scores_and_waits(2, 50)
        scores[:, 7:] = -INFINITY
        waits[:, 7:] = torch.finfo(torch.float32).tiny
        assert (racing.race(scores, torch.ones(2), waits) < 7).all()

    def test_a_broken_row_yields_a_token_and_breaks_no_other(self) -> None:
        scores, waits = scores_and_waits(3, 50)
        expected = racing.race(scores, torch.ones(3), waits)
        scores[1] = float("nan")
        found = racing.race(scores, torch.ones(3), waits)
        assert (found[0], found[2]) == (expected[0], expected[2])
        assert 0 <= found[1] < 50

    def test_draws_as_often_as_the_probabilities_say(self) -> None:
        logits = torch.tensor([0.0, 1.0, 2.0]).log().nan_to_num(neginf=-INFINITY)
        _, waits = scores_and_waits(90, 3, seed=5)
        drawn = racing.race(logits.expand(90, 3).contiguous(), torch.ones(90), waits)
        assert drawn.min() == 1
        # 2 of 3, within four standard deviations
        assert abs((drawn == 2).sum() - 60) < 4 * (90 * 2 / 9) ** 0.5

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_bytes_claimed_are_bytes_touched(self, dtype, monkeypatch) -> None:
        monkeypatch.setattr(racing, "BLOCK", 64)
        scores, waits = scores_and_waits(3, 300)
        with count_traffic() as traffic:
            racing.race(scores.to(dtype), torch.tensor([0.0, 1.0, 0.5]), waits)
        cost = racing.race_cost(3, 300, num_greedy=1, itemsize=dtype.itemsize)
        # Which token a row's last kernel reads is one of those that were stored.
        assert traffic.equals(cost)

    def test_what_does_not_fit_is_refused(self) -> None:
        scores, waits = scores_and_waits(2, 8)
        with pytest.raises(ValueError, match="waits must be contiguous"):
            racing.race(scores, torch.ones(2), waits.half())
        with pytest.raises(ValueError, match="3 temperatures for 2 rows"):
            racing.race(scores, torch.ones(3), waits)


def filtered(logits, top_k, top_p):
    ours = top_k_top_p.apply_top_k_top_p(logits.clone(), top_k, top_p)
    theirs = oracle.apply_top_k_top_p(logits.clone(), top_k, top_p)
    return ours, theirs


class TestFilters:
    @given(st.integers(0, 999), st.integers(1, 60), st.floats(0.05, 1.0), st.booleans())
    @settings(max_examples=6, deadline=None)
    def test_equals_the_sampler(self, seed: int, k: int, p: float, coarse: bool) -> None:
        """Coarse scores tie often; their sums are over few values, so rounding cannot decide."""
        scores, _ = scores_and_waits(2, 60, seed)
        scores = scores.round() if coarse else scores
        ours, theirs = filtered(scores, torch.tensor([k, 60]), torch.tensor([p, 1.0]))
        kept = (ours > -INFINITY).sum(-1) - (theirs > -INFINITY).sum(-1)
        assert kept.abs().max() <= 1, "a sum in another order may move the boundary by one"
        if kept.any():
            probs = theirs.softmax(-1)
            edge = probs[ours.isinf() != theirs.isinf()]
            before = probs[0][probs[0] > edge.max()].sum()
            assert min(abs(before - p), abs(before + edge.max() - p)) < 1e-5
        else:
            assert torch.equal(ours, theirs)
        assert torch.equal(ours[1], scores[1])

    def test_over_several_pieces(self, monkeypatch) -> None:
        monkeypatch.setattr(top_k_top_p, "BLOCK", 64)
        scores, _ = scores_and_waits(1, 130)
        for k, p in ((torch.tensor([100]), None), (None, torch.tensor([0.9]))):
            ours, theirs = filtered(scores, k, p)
            assert torch.equal(ours, theirs)

    def test_the_token_that_crosses_the_line_stays(self) -> None:
        logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
        ours, _ = filtered(logits, None, torch.tensor([0.9]))
        assert ours.isinf().tolist() == [[False, False, False, True]]
        ours, _ = filtered(logits, None, torch.tensor([0.4]))
        assert ours.isinf().tolist() == [[False, True, True, True]]

    def test_equals(self) -> None:
        """With the k-th all stay; at the boundary of top-p the lower ids."""
        logits = torch.tensor([[1.0, 2.0, 1.0, 1.0, -0.0, 0.0]])
        ours, theirs = filtered(logits, torch.tensor([2]), None)
        assert torch.equal(ours, theirs)
        assert ours.isinf().tolist() == [[False, False, False, False, True, True]]
        ours, theirs = filtered(torch.zeros(1, 8), None, torch.tensor([0.3]))
        assert torch.equal(ours, theirs)
        assert ours.isinf().tolist() == [[False] * 3 + [True] * 5]

    def test_masked_tokens_and_signs(self) -> None:
        logits = torch.tensor([[-3.0, -INFINITY, -1.0, 2.0, -0.0, 0.5]])
        for k in (1, 3, 6):
            ours, theirs = filtered(logits, torch.tensor([k]), torch.tensor([0.99]))
            assert torch.equal(ours, theirs), k

    def test_bytes_claimed_are_bytes_touched(self) -> None:
        scores, _ = scores_and_waits(2, 100)
        with count_traffic() as traffic:
            out = top_k_top_p.apply_top_k_top_p(
                scores, torch.tensor([9, 3]), torch.tensor([0.8, 0.9])
            )
        assert traffic.equals(top_k_top_p.top_k_top_p_cost(2, 100, int(out.isinf().sum())))
        # one pass for the largest, four for sums, counts and masks, and two searches
        assert traffic.read_asked == 2 * (100 * 4 * (2 * top_k_top_p.PASSES + 6) + 12)

    def test_a_row_that_filters_nothing_is_not_read(self) -> None:
        scores, _ = scores_and_waits(1, 100)
        with count_traffic() as traffic:
            top_k_top_p.apply_top_k_top_p(scores, torch.tensor([100]), torch.tensor([1.0]))
        assert (traffic.read_touched, traffic.written_asked) == (8 + 4, 0)

    def test_what_does_not_fit_is_refused(self) -> None:
        scores, _ = scores_and_waits(2, 8)
        with pytest.raises(ValueError, match="scores must be float32"):
            top_k_top_p.apply_top_k_top_p(scores.half(), None, torch.ones(2))
        with pytest.raises(ValueError, match=r"top_k \(3,\) for 2 rows"):
            top_k_top_p.apply_top_k_top_p(scores, torch.ones(3, dtype=torch.int64), None)


class TestChosenLogprobs:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    def test_equals_the_reference(self, dtype, monkeypatch) -> None:
        monkeypatch.setattr(chosen, "BLOCK", 64)
        logits = scores_and_waits(4, 200)[0].to(dtype)
        tokens = torch.tensor([0, 199, 7, 64])
        ours = chosen.chosen_logprobs(logits, tokens)
        theirs = chosen.chosen_logprobs_reference(logits, tokens)
        torch.testing.assert_close(ours[0], theirs[0], atol=2e-6, rtol=2e-6)
        assert torch.equal(ours[1], theirs[1])

    def test_masked_scores_from_the_first_piece_on(self, monkeypatch) -> None:
        monkeypatch.setattr(chosen, "BLOCK", 16)
        logits = torch.full((1, 50), -INFINITY)
        logits[0, 40:42] = torch.tensor([1.0, 1.0])
        logprobs, ranks = chosen.chosen_logprobs(logits, torch.tensor([41]))
        torch.testing.assert_close(logprobs, torch.tensor([0.5]).log())
        assert ranks.tolist() == [2]

    def test_bytes_claimed_are_bytes_touched(self) -> None:
        logits, _ = scores_and_waits(3, 100)
        with count_traffic() as traffic:
            chosen.chosen_logprobs(logits, torch.tensor([1, 2, 3]))
        assert traffic.equals(chosen.chosen_logprobs_cost(3, 100))

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"\(3,\) tokens for scores \(2, 8\)"):
            chosen.chosen_logprobs(torch.randn(2, 8), torch.zeros(3, dtype=torch.int64))
