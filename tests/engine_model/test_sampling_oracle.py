"""The sampler against an oracle in float64 and against transformers; draws by chi-square.

**False alarms.** The chi-square tests of this file and of `test_sampler.py`, some fifty, each
reject a fair sampler with probability 1e-4: one of them does in one of two hundred sets of seeds.
The seeds are fixed, so that what passes once passes always.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from mini_vllm.sample.kernels import TorchSamplingKernels
from mini_vllm.sample.metadata import SamplingMetadata
from mini_vllm.sample.sampler import Sampler
from mini_vllm.sampling_params import MIN_TEMPERATURE, SamplingParams
from mini_vllm.worker.input_batch import CachedRequestState, InputBatch

SIGNIFICANCE = 1e-4
VOCAB_SIZE = 40


def load(name):
    qualified = f"engine_model_{name}"
    if qualified not in sys.modules:
        path = Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(qualified, path)
        sys.modules[qualified] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[qualified])
    return sys.modules[qualified]


oracle = load("sampling_oracle")


def random_params(rng: random.Random, vocab_size: int = VOCAB_SIZE, **more) -> SamplingParams:
    """Each rule is on in about half of the requests."""

    def maybe(off, *values):
        return rng.choice([off] * len(values) + list(values))

    return SamplingParams(
        temperature=rng.choice([0.3, 0.7, 1.0, 1.0, 1.7, 5.0]),
        top_k=maybe(0, 1, 2, 7, vocab_size - 1, vocab_size, 10 * vocab_size),
        top_p=maybe(1.0, 1e-6, 0.2, 0.6, 0.95, 0.999),
        min_p=maybe(0.0, 0.01, 0.1, 0.6, 1.0),
        presence_penalty=maybe(0.0, -2.0, 0.7, 2.0),
        frequency_penalty=maybe(0.0, -1.0, 0.3, 2.0),
        repetition_penalty=maybe(1.0, 0.8, 1.2, 3.0),
        min_tokens=maybe(0, 1, 4, 9),
        stop_token_ids=rng.sample(range(vocab_size), rng.randrange(0, 4)),
        max_tokens=40,
        **more,
    )


class Batch:
    """Requests in an `InputBatch`, with the histories that the oracle needs."""

    def __init__(self, size: int):
        self.rows = InputBatch(
            max_num_reqs=size, max_model_len=64, block_size=4, vocab_size=VOCAB_SIZE
        )
        self.states: dict[str, CachedRequestState] = {}

    def add(self, req_id: str, params: SamplingParams, prompt, output=()) -> None:
        generator = None
        if params.seed is not None:
            generator = torch.Generator().manual_seed(params.seed)
        state = CachedRequestState(
            req_id, list(prompt), params, [1], 0, list(output), generator=generator
        )
        self.states[req_id] = state
        self.rows.add_request(state)

    def drop(self, req_id: str) -> None:
        self.rows.remove_request(req_id)
        del self.states[req_id]

    def in_rows(self) -> list[CachedRequestState]:
        return [self.states[req_id] for req_id in self.rows.req_ids]


@pytest.fixture
def captured(monkeypatch):
    """The probabilities that enter each draw."""
    seen: list[torch.Tensor] = []
    race = TorchSamplingKernels.race

    def watched(kernels, scores, waits):
        seen.append(scores.softmax(dim=-1))
        return race(kernels, scores, waits)

    monkeypatch.setattr(TorchSamplingKernels, "race", watched)
    return seen


def test_mixed_batches_have_the_oracles_probabilities(captured):
    """Random requests come, draw, go and change rows; each row's distribution is checked."""
    rng = random.Random(11)
    torch.manual_seed(11)
    checked = close_calls = 0
    for _ in range(60):
        batch, names = Batch(8), iter(range(1000))
        sampler = Sampler(3)
        for _ in range(6):
            for state in list(batch.states.values()):
                if rng.random() < 0.3:
                    batch.drop(state.req_id)
            for _ in range(rng.randrange(0, 9 - len(batch.states))):
                tokens = [rng.randrange(VOCAB_SIZE) for _ in range(rng.randrange(1, 12))]
                cut = rng.randrange(1, len(tokens) + 1)
                batch.add(f"r{next(names)}", random_params(rng), tokens[:cut], tokens[cut:])
            batch.rows.condense()
            states = batch.in_rows()
            if not states:
                continue
            logits = torch.randn(len(states), VOCAB_SIZE) * rng.choice([0.5, 2.0, 6.0])
            captured.clear()
            drawn = sampler(logits, batch.rows.sampling_metadata())
            (probs,) = captured
            for row, state in enumerate(states):
                history = (logits[row].numpy(), state.sampling_params)
                history += (state.prompt_token_ids, state.output_token_ids)
                if oracle.boundary_margin(*history) < 1e-5:
                    close_calls += 1
                    continue
                expected = oracle.probabilities(*history)
                actual = probs[row].double().numpy()
                assert not actual[expected == 0].any(), state.sampling_params
                # Below this, float32 has no numbers left.
                assert actual[expected > 1e-30].all(), state.sampling_params
                np.testing.assert_allclose(actual, expected, atol=3e-6, rtol=1e-4)
                assert expected[drawn.token_ids[row]] > 0
                checked += 1
            for row, token in enumerate(drawn.token_ids.tolist()):
                batch.rows.append_token(row, token)
    assert checked > 1000
    assert close_calls < 0.02 * checked


def test_greedy_rows_of_a_mixed_batch_pay_penalties_and_keep_min_tokens():
    rng = random.Random(4)
    torch.manual_seed(4)
    changed = 0
    for _ in range(40):
        batch = Batch(6)
        for i in range(6):
            params = random_params(rng)
            if i % 2:
                params = SamplingParams(
                    temperature=0.0,
                    presence_penalty=params.presence_penalty,
                    frequency_penalty=params.frequency_penalty,
                    repetition_penalty=params.repetition_penalty,
                    min_tokens=params.min_tokens,
                    stop_token_ids=params.stop_token_ids,
                    max_tokens=40,
                )
            tokens = [rng.randrange(VOCAB_SIZE) for _ in range(10)]
            batch.add(f"r{i}", params, tokens[:4], tokens[4 : 4 + i])
        batch.rows.condense()
        logits = torch.randn(6, VOCAB_SIZE)
        drawn = Sampler()(logits, batch.rows.sampling_metadata()).token_ids
        for row, state in enumerate(batch.in_rows()):
            if state.sampling_params.temperature:
                continue
            scores = oracle.apply_rules(
                logits[row].numpy(),
                state.sampling_params,
                state.prompt_token_ids,
                state.output_token_ids,
            )
            assert int(drawn[row]) == int(scores.argmax())
            changed += int(scores.argmax()) != int(logits[row].argmax())
    assert changed > 10, "the rules should have changed some best token"


COMBINATIONS = {
    "temperature": {"temperature": 0.6},
    "temperature high": {"temperature": 3.0},
    "top_k": {"top_k": 4},
    "top_p": {"top_p": 0.8},
    "min_p": {"min_p": 0.15},
    "presence": {"presence_penalty": 1.5},
    "presence, rewarded": {"presence_penalty": -1.5},
    "frequency": {"frequency_penalty": 0.8},
    "repetition": {"repetition_penalty": 1.6},
    "repetition, rewarded": {"repetition_penalty": 0.7},
    "min_tokens": {"min_tokens": 9, "stop_token_ids": [0, 2]},
    "min_p after temperature": {"temperature": 2.5, "min_p": 0.3},
    "min_p, then top_k": {"min_p": 0.1, "top_k": 3},
    "top_k, then top_p": {"top_k": 5, "top_p": 0.7},
    "all filters": {"temperature": 1.4, "min_p": 0.05, "top_k": 7, "top_p": 0.9},
    "penalties, then temperature": {
        "temperature": 0.5,
        "presence_penalty": 0.6,
        "frequency_penalty": 0.4,
        "repetition_penalty": 1.3,
    },
    "everything": {
        "temperature": 1.3,
        "min_p": 0.02,
        "top_k": 8,
        "top_p": 0.95,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.3,
        "repetition_penalty": 1.2,
        "min_tokens": 9,
        "stop_token_ids": [1],
    },
}
LOGITS = np.array([2.0, 1.8, 1.5, 1.1, 0.8, 0.4, 0.0, -0.3, -0.7, -1.2])
PROMPT, OUTPUT = [3, 0, 5], [1, 4, 1]
DRAWS = 6000


def draws(params: SamplingParams, engine_seed: int = 1) -> np.ndarray:
    """Counts of many draws of one request, all rows of one batch being copies of it."""
    sampler = Sampler(engine_seed)
    copies = 200
    batch = InputBatch(max_num_reqs=copies, max_model_len=8, block_size=4, vocab_size=len(LOGITS))
    for i in range(copies):
        batch.add_request(CachedRequestState(str(i), PROMPT, params, [1], 0, list(OUTPUT)))
    batch.condense()
    logits = torch.from_numpy(LOGITS).float().expand(copies, -1).contiguous()
    counts = np.zeros(len(LOGITS))
    for _ in range(DRAWS // copies):
        tokens = sampler(logits, batch.sampling_metadata()).token_ids.numpy()
        counts += np.bincount(tokens, minlength=len(LOGITS))
    return counts


def p_value(counts: np.ndarray, probs: np.ndarray) -> float:
    assert counts[probs == 0].sum() == 0, "a token was drawn that the rules exclude"
    counts, expected = counts[probs > 0], probs[probs > 0] * counts.sum()
    # The test wants no tiny classes: the rarest share one.
    order = np.argsort(expected)
    counts, expected = counts[order], expected[order]
    rare = max(1, int((expected.cumsum() < 10).sum()))
    counts = np.append(counts[:rare].sum(), counts[rare:])
    expected = np.append(expected[:rare].sum(), expected[rare:])
    return 1.0 if len(expected) == 1 else float(chisquare(counts, expected).pvalue)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_draws_follow_the_oracle(name):
    params = SamplingParams(max_tokens=20, **COMBINATIONS[name])
    probs = oracle.probabilities(LOGITS, params, PROMPT, OUTPUT)
    assert p_value(draws(params), probs) > SIGNIFICANCE


@pytest.mark.parametrize("name", COMBINATIONS)
def test_another_distribution_would_be_noticed(name):
    """The same draws, held against the distribution without the rule: the test has teeth."""
    params = SamplingParams(max_tokens=20, **COMBINATIONS[name])
    other = oracle.probabilities(LOGITS, SamplingParams(), PROMPT, OUTPUT)
    counts = draws(params)
    assert p_value(counts, other) < 1e-12


@pytest.mark.parametrize(
    ("first", "second", "params"),
    [
        ("temperature", "min_p", {"temperature": 2.5, "min_p": 0.3}),
        ("top_k", "top_p", {"top_k": 5, "top_p": 0.7}),
        ("penalties", "temperature", COMBINATIONS["penalties, then temperature"]),
    ],
)
def test_the_order_of_two_rules_would_be_noticed(first, second, params):
    """The same two rules the other way round are another distribution, and it is refused."""
    params = SamplingParams(max_tokens=20, **params)
    rules = oracle.apply_rules(LOGITS, params, PROMPT, OUTPUT)
    if second == "min_p":
        swapped = np.where(
            oracle.softmax(LOGITS) < 0.3 * oracle.softmax(LOGITS).max(), -np.inf, LOGITS / 2.5
        )
    elif second == "top_p":
        probs = oracle.softmax(LOGITS)
        by_p = np.where(probs.cumsum() - probs < 0.7, LOGITS, -np.inf)
        swapped = np.where(np.arange(len(LOGITS)) < 5, by_p, -np.inf)
    else:
        swapped = LOGITS / 0.5 + (rules - LOGITS)
    swapped = oracle.softmax(swapped)
    counts = draws(params)
    different = counts[swapped == 0].sum() > 0
    assert different or p_value(counts, swapped) < 1e-9


class TestBesideTransformers:
    """Where the words mean the same, the numbers must: each processor alone, and the chain."""

    def processed(self, captured, **settings):
        """What our sampler draws from, for 24 random rows with these parameters."""
        torch.manual_seed(9)
        logits = torch.randn(24, VOCAB_SIZE) * 2
        prompt, output = [1, 5, 9, 5], [2, 5, 30, 2]
        batch = Batch(24)
        for i in range(24):
            batch.add(str(i), SamplingParams(max_tokens=20, **settings), prompt, output)
        batch.rows.condense()
        Sampler()(logits, batch.rows.sampling_metadata())
        ids = torch.tensor([prompt + output]).expand(24, -1)
        return logits, ids, captured[-1]

    def compare(self, ours, theirs):
        theirs = theirs.softmax(-1)
        assert torch.equal(ours > 0, theirs > 0)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize(
        ("settings", "warper", "arguments"),
        [
            ({"temperature": 0.7}, "TemperatureLogitsWarper", (0.7,)),
            ({"top_k": 5}, "TopKLogitsWarper", (5,)),
            ({"top_p": 0.6}, "TopPLogitsWarper", (0.6,)),
            ({"top_p": 1e-9}, "TopPLogitsWarper", (1e-9,)),
            ({"min_p": 0.2}, "MinPLogitsWarper", (0.2,)),
            ({"repetition_penalty": 1.4}, "RepetitionPenaltyLogitsProcessor", (1.4,)),
        ],
    )
    def test_one_rule(self, captured, settings, warper, arguments):
        import transformers

        logits, ids, ours = self.processed(captured, **settings)
        self.compare(ours, getattr(transformers, warper)(*arguments)(ids, logits.clone()))

    def test_min_tokens(self, captured):
        from transformers import MinNewTokensLengthLogitsProcessor as MinNewTokens

        logits, ids, ours = self.processed(captured, min_tokens=5, stop_token_ids=[3, 4])
        self.compare(ours, MinNewTokens(4, 5, [3, 4], device="cpu")(ids, logits.clone()))

    def test_the_chain(self, captured):
        import transformers as t

        settings = {"repetition_penalty": 1.3, "temperature": 1.6, "top_k": 20, "top_p": 0.8}
        logits, ids, ours = self.processed(captured, **settings)
        chain = [
            t.RepetitionPenaltyLogitsProcessor(1.3),
            t.TemperatureLogitsWarper(1.6),
            t.TopKLogitsWarper(20),
            t.TopPLogitsWarper(0.8),
        ]
        theirs = logits.clone()
        for step in chain:
            theirs = step(ids, theirs)
        self.compare(ours, theirs)


class TestEdges:
    def draw(self, logits, seed=0, **settings):
        batch = Batch(len(logits))
        for i in range(len(logits)):
            batch.add(str(i), SamplingParams(max_tokens=20, **settings), [1])
        batch.rows.vocab_size = logits.shape[1]
        batch.rows.condense()
        return Sampler(seed)(logits, batch.rows.sampling_metadata()).token_ids

    @pytest.mark.parametrize(
        "settings", [{"top_k": 1}, {"top_p": 1e-12}, {"min_p": 1.0}, {"temperature": 1e-5}]
    )
    def test_one_candidate_is_the_best(self, settings):
        logits = torch.randn(50, VOCAB_SIZE)
        # At the lowest temperature that is not greedy, a gap of 1 is a factor of e^100.
        logits.scatter_add_(1, logits.argmax(-1, keepdim=True), torch.ones(50, 1))
        assert self.draw(logits, **settings).tolist() == logits.argmax(-1).tolist()

    def test_a_tiny_temperature_is_raised_and_none_overflows(self, captured):
        assert SamplingParams(temperature=2e-5).temperature == MIN_TEMPERATURE
        logits = torch.tensor([[3e4, -3e4, 2.9e4]])
        assert self.draw(logits, temperature=2e-5).tolist() == [0]
        assert captured[-1].isfinite().all()

    @pytest.mark.parametrize("top_k", [VOCAB_SIZE, VOCAB_SIZE + 1, 10**9, 0, -1])
    def test_top_k_of_the_vocabulary_or_more_is_no_filter(self, top_k):
        batch = Batch(1)
        batch.add("a", SamplingParams(top_k=top_k), [1])
        batch.rows.condense()
        assert batch.rows.sampling_metadata().top_k is None

    def test_ties_with_the_best_are_all_candidates_of_min_p_one(self, captured):
        logits = torch.tensor([[1.0, 3.0, 3.0, 2.0]])
        self.draw(logits, min_p=1.0)
        assert captured[-1].tolist() == [[0.0, 0.5, 0.5, 0.0]]

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    @pytest.mark.parametrize(
        "settings", [{"temperature": 0.0}, {}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.2}]
    )
    def test_a_broken_row_stays_in_the_vocabulary_and_hurts_nobody(self, bad, settings):
        """A NaN in a row of scores: its token means nothing, and its neighbours draw as before."""
        logits = torch.randn(3, VOCAB_SIZE)
        whole = self.draw(logits, **settings).tolist()
        logits[1, 7] = bad
        broken = self.draw(logits, **settings).tolist()
        assert 0 <= broken[1] < VOCAB_SIZE
        assert broken[::2] == whole[::2]
        metadata = SamplingMetadata(rows=[0, 1, 2], num_logprobs={0: 1, 1: 1})
        found = Sampler()(logits, metadata).logprobs
        assert np.isnan(found[1].logprobs).any() or bad > 0
        assert np.isfinite(found[0].logprobs).all()

    def test_a_vocabulary_of_stop_tokens_under_min_tokens(self):
        """Everything is forbidden; something is drawn all the same, from the vocabulary."""
        stops = list(range(VOCAB_SIZE))
        for temperature in (0.0, 1.0):
            tokens = self.draw(
                torch.randn(2, VOCAB_SIZE),
                min_tokens=3,
                stop_token_ids=stops,
                temperature=temperature,
            )
            assert all(0 <= token < VOCAB_SIZE for token in tokens.tolist())

    def test_a_batch_without_rules_is_told_so(self):
        metadata = SamplingMetadata(rows=[0])
        assert metadata.all_greedy


ENGINES = [
    {"max_num_seqs": 1},
    {"block_size": 4, "max_num_batched_tokens": 9, "max_num_seqs": 9},
    {"block_size": 3, "num_gpu_blocks": 30, "max_num_seqs": 12},
    {"block_size": 1, "num_gpu_blocks": 70, "max_num_batched_tokens": 33, "max_num_seqs": 5},
    {"block_size": 16, "enable_prefix_caching": False, "kernels": "torch"},
    {"block_size": 5, "attention_backend": "torch_reference", "long_prefill_token_threshold": 4},
]


def predicted(hf, prompt, params):
    """A seeded answer from transformers' scores, the oracle, and the same random numbers.

    Also, for each token, how far the winner of the race is ahead of the second, and the raw scores.
    """
    generator = torch.Generator().manual_seed(params.seed)
    output, leads, raw = [], [], []
    for _ in range(params.max_tokens):
        logits = hf.logits([*prompt, *output])[-1]
        probs = oracle.probabilities(logits.numpy(), params, prompt, output)
        margin = oracle.boundary_margin(logits.numpy(), params, prompt, output)
        waits = torch.empty(len(probs)).exponential_(generator=generator).numpy()
        times = probs / np.maximum(waits, np.finfo(np.float32).tiny)
        best, second = np.sort(times)[:-3:-1]
        output.append(int(times.argmax()))
        leads.append(min(1 - second / best, margin))
        raw.append(logits.double().numpy())
    return output, leads, raw


def seeded_requests(count=12):
    """Requests that share a beginning, each with parameters and a seed of its own."""
    rng = random.Random(77)
    stem = [rng.randrange(2, 320) for _ in range(9)]
    prompts, params = [], []
    for i in range(count):
        tail = [rng.randrange(2, 320) for _ in range(rng.randrange(1, 12))]
        prompts.append((stem if i % 2 else []) + tail)
        one = random_params(rng, 320, seed=1000 + i, logprobs=rng.choice([0, 1, 5, -1]))
        one.max_tokens, one.ignore_eos, one.stop_token_ids = 14, True, []
        one.min_tokens, one.all_stop_token_ids = 14, {int(rng.randrange(320))}
        params.append(one)
    return prompts, params


@pytest.fixture(scope="module")
def predictions(make_checkpoint, oracle):
    prompts, params = seeded_requests()
    with torch.no_grad():
        answers = [predicted(oracle("llama"), p, s) for p, s in zip(prompts, params)]
    return prompts, params, answers


@pytest.mark.parametrize("settings", ENGINES, ids=str)
def test_a_seed_and_the_scores_decide_whatever_shares_the_batch(
    settings, predictions, make_checkpoint, parity, tools
):
    """Alone, in company, in chunks, over shared prefixes, after preemption: the predicted answer.

    A token may differ only where the race was lost by less than 1e-3, or a filter's edge was that
    near: the answer after it is another one and is not compared. Less than 1 in 200 may do so.
    """
    prompts, params, answers = predictions
    settings = {"num_gpu_blocks": 400, **settings}
    run = tools.run(make_checkpoint("llama"), prompts, params, **settings)
    if settings["num_gpu_blocks"] < 100:
        assert run.num_preemptions > 0
    compared = near = 0
    for (expected, leads, raw), tokens, logprobs, one in zip(
        answers, run.token_ids, run.logprobs, params, strict=True
    ):
        place = next((i for i, (a, b) in enumerate(zip(tokens, expected)) if a != b), None)
        if place is not None:
            assert leads[place] < 1e-3, (one, place, leads[place])
            near += 1
        for i in range(len(expected) if place is None else place):
            check_logprobs(logprobs[i], raw[i], tokens[i], one.logprobs)
            compared += 1
    parity.exercised["seeded tokens predicted"] += compared
    parity.exercised["seeded answers that a near-tie sent elsewhere"] += near
    assert near * 200 <= compared
    assert compared > 150


def check_logprobs(found, raw, token, num_logprobs):
    """The model's own: log-softmax of the raw scores, whatever the rules made of them since."""
    exact = oracle.log_softmax(raw)
    wanted = len(exact) if num_logprobs == -1 else num_logprobs
    assert found.token_ids[0] == token
    assert len(found.token_ids) == len(found.logprobs) == 1 + wanted
    np.testing.assert_allclose(found.logprobs, exact[found.token_ids], atol=2e-4)
    # The rank counts from 1; a tie within rounding may move it.
    low, high = (exact > exact[token] + 2e-4).sum(), (exact >= exact[token] - 2e-4).sum()
    assert low < found.rank <= high
    rivals = exact[found.token_ids[1:]]
    assert (np.diff(rivals) <= 2e-4).all(), "the likeliest come first"
    if wanted:
        assert rivals.min() >= np.sort(exact)[-wanted] - 2e-4, "one of the likeliest is missing"
        assert len(set(found.token_ids[1:])) == wanted


def test_the_requests_are_as_varied_as_they_should_be(predictions):
    _, params, answers = predictions
    assert any(p.top_k for p in params)
    assert any(p.repetition_penalty != 1 for p in params)
    assert any(p.logprobs == -1 for p in params)
    flat = [token for answer, _, _ in answers for token in answer]
    assert len(set(flat)) > 60
