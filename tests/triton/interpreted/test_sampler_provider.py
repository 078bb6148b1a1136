"""The sampler over Triton's kernels is the sampler over torch's: masks, log-probabilities, tokens.

The noise is the same, since the sampler makes it. What may differ is rounding, and where two tokens
are as near as that, either may win.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mini_vllm.sample.kernels as provider
from mini_vllm.sample.kernels import TorchSamplingKernels, select_sampling_kernels
from mini_vllm.sample.logits_processors import BatchUpdate, LogitsProcessors
from mini_vllm.sample.metadata import SamplingMetadata
from mini_vllm.sample.penalties import Penalties
from mini_vllm.sample.sampler import Sampler
from mini_vllm.sample.triton_kernels import TritonSamplingKernels
from mini_vllm.sampling_params import SamplingParams

VOCABULARY = 80
BOTH = (TorchSamplingKernels(), TritonSamplingKernels())

rows = st.lists(
    st.builds(
        SamplingParams,
        temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
        top_k=st.sampled_from([0, 1, 7, 40]),
        top_p=st.sampled_from([1.0, 0.9, 0.35]),
        min_p=st.sampled_from([0.0, 0.05]),
        presence_penalty=st.sampled_from([0.0, 1.0]),
        seed=st.sampled_from([None, 11]),
        logprobs=st.sampled_from([None, 0, 3, -1]),
    ),
    min_size=1,
    max_size=3,
)


def metadata(params: list[SamplingParams]) -> SamplingMetadata:
    """What the runner would make of these requests, each with a little history."""
    greedy = [p.temperature == 0 for p in params]
    processors = LogitsProcessors.builtin(len(params))
    processors.update_state(BatchUpdate(added=[(i, p, []) for i, p in enumerate(params)]))
    top_k = torch.tensor([p.top_k or VOCABULARY for p in params], dtype=torch.int32)
    top_p = torch.tensor([p.top_p for p in params], dtype=torch.float32)
    taxed = [i for i, p in enumerate(params) if Penalties.wanted_by(p)]
    return SamplingMetadata(
        rows=list(range(len(params))),
        temperature=None if all(greedy) else torch.tensor([p.temperature for p in params]),
        all_random=not any(greedy),
        top_k=top_k if (top_k < VOCABULARY).any() else None,
        top_p=top_p if (top_p < 1).any() else None,
        generators={
            i: torch.Generator().manual_seed(p.seed) for i, p in enumerate(params) if p.seed
        },
        penalties=Penalties(
            taxed, [[1, 2]] * len(taxed), [[3, 3, 5]] * len(taxed), [params[i] for i in taxed]
        )
        if taxed
        else None,
        processors=processors,
        num_logprobs={i: p.logprobs for i, p in enumerate(params) if p.logprobs is not None},
    )


@given(rows, st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_the_same_tokens_and_log_probabilities(params, seed) -> None:
    logits = 3 * torch.randn(len(params), VOCABULARY, generator=torch.Generator().manual_seed(seed))
    raw = logits.clone()
    theirs, ours = (Sampler(seed, kernels=kernels)(logits, metadata(params)) for kernels in BOTH)
    assert torch.equal(logits, raw), "the raw scores are the caller's"
    assert ours.token_ids.dtype == theirs.token_ids.dtype
    assert ours.token_ids.tolist() == theirs.token_ids.tolist()
    assert ours.logprobs.keys() == theirs.logprobs.keys()
    for row, expected in theirs.logprobs.items():
        found = ours.logprobs[row]
        assert list(found.token_ids) == list(expected.token_ids)
        assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-5)
        assert found.rank == expected.rank


@given(st.integers(0, 999), st.sampled_from([3, 30, VOCABULARY]), st.sampled_from([0.2, 0.9]))
@settings(max_examples=5, deadline=None)
def test_the_same_masks(seed, k, p) -> None:
    scores = torch.randn(2, VOCABULARY, generator=torch.Generator().manual_seed(seed))
    top_k, top_p = torch.tensor([k, VOCABULARY], dtype=torch.int32), torch.tensor([p, 1.0])
    theirs, ours = (
        kernels.apply_top_k_top_p(scores.clone(), top_k, top_p).isinf() for kernels in BOTH
    )
    assert torch.equal(ours, theirs)
    assert not ours[1].any()


def test_a_broken_row_breaks_no_other() -> None:
    """A NaN, as the sampler promises: some token, a log-probability of NaN, neighbours as ever."""
    params = [SamplingParams(temperature=1.0, seed=5, top_p=0.9, logprobs=1) for _ in range(3)]
    logits = torch.randn(3, VOCABULARY)
    whole = Sampler(0, kernels=BOTH[1])(logits, metadata(params))
    logits[1, 7] = float("nan")
    broken = Sampler(0, kernels=BOTH[1])(logits, metadata(params))
    assert broken.token_ids[[0, 2]].tolist() == whole.token_ids[[0, 2]].tolist()
    assert 0 <= broken.token_ids[1] < VOCABULARY
    assert broken.logprobs[1].logprobs[0] != broken.logprobs[1].logprobs[0]


def test_who_is_chosen(monkeypatch) -> None:
    cpu = select_sampling_kernels(torch.device("cpu"))
    assert (cpu.kernels.name, str(cpu)) == ("torch", "sampling by torch: this is a CPU")
    monkeypatch.setattr(provider, "why_not_triton", lambda device: None)
    assert select_sampling_kernels(torch.device("cuda")).kernels.name == "triton"
    monkeypatch.setattr(provider, "why_not_triton", lambda device: "no such package")
    there = select_sampling_kernels(torch.device("cuda"))
    assert (there.kernels.name, there.reason) == ("torch", "no such package")
