"""Every Triton kernel on a device, at the sizes of models, against its meaning in torch.

The interpreter has checked the arithmetic and the compiler the code; what is left for a device are
races, alignment, and sizes that an interpreter would take hours for.
"""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.gpu

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
TOLERANCE = {
    torch.float32: {"atol": 1e-5, "rtol": 1e-5},
    torch.float16: {"atol": 2e-3, "rtol": 2**-9},
    torch.bfloat16: {"atol": 2e-2, "rtol": 2**-6},
}
VOCABULARY = 151_936


@pytest.fixture(scope="module", autouse=True)
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: nox -s labs_gpu on a machine that has one")
    pytest.importorskip("triton", reason="triton is not installed")
    torch.manual_seed(0)


def rand(*shape: int, dtype=torch.float32):
    return torch.randn(shape, device="cuda").to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("num_tokens", [1, 64, 8192])
def test_kernels_between_the_products(num_tokens, dtype) -> None:
    from mini_vllm.kernels.torch_kernels import TorchKernels
    from mini_vllm.kernels.triton_kernels import TritonKernels

    ours, oracle = TritonKernels(), TorchKernels()
    x, residual = rand(num_tokens, 4096, dtype=dtype), rand(num_tokens, 4096, dtype=dtype)
    weight, norm = rand(4096, dtype=dtype), rand(128, dtype=dtype)
    qkv, table = rand(num_tokens, 48 * 128, dtype=dtype), rand(8192, 128)
    positions = torch.randint(0, 8192, (num_tokens,), device="cuda")
    wide = rand(num_tokens, 2 * 12288, dtype=dtype)
    for call in (
        lambda k: (k.rms_norm(x, weight, 1e-6),),
        lambda k: k.add_rms_norm(x, residual, weight, 1e-6),
        lambda k: (k.silu_and_mul(wide),),
        lambda k: k.split_qkv_rotary(qkv, positions, table, 32, 8, norm, norm),
        lambda k: k.split_qkv_rotary(qkv, positions, table, 32, 8),
    ):
        for mine, yours in zip(call(ours), call(oracle), strict=True):
            torch.testing.assert_close(mine, yours, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_keys_and_values_reach_their_slots(dtype) -> None:
    from mini_vllm.kernels.triton.kv_write import write_kv, write_kv_reference

    key, value = rand(1000, 8, 128, dtype=dtype), rand(1000, 8, 128, dtype=dtype)
    slots = torch.randperm(200 * 16, device="cuda")[:1000]
    slots[::7] = -1
    ours = torch.zeros(2, 200, 8, 16, 128, dtype=dtype, device="cuda")
    theirs = ours.clone()
    write_kv(key, value, *ours, slots)
    write_kv_reference(key, value, *theirs, slots)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [1, 16, 63, 512, 4096])
def test_products(rows, dtype) -> None:
    from mini_vllm.kernels.triton.linear import linear

    x, weight, bias = rand(rows, 1000) / 1000**0.5, rand(1536, 1000), rand(1536)
    exact = (x.to(dtype).double() @ weight.to(dtype).double().T + bias.to(dtype).double()).to(dtype)
    found = linear(x.to(dtype), weight.to(dtype), bias.to(dtype))
    torch.testing.assert_close(found, exact, **TOLERANCE[dtype])


def test_the_race_and_log_probabilities() -> None:
    from mini_vllm.kernels.triton.chosen_logprobs import chosen_logprobs, chosen_logprobs_reference
    from mini_vllm.kernels.triton.race import best_tokens, race, race_reference

    scores = 4 * rand(64, VOCABULARY)
    waits = torch.empty_like(scores).exponential_().clamp_min_(torch.finfo(torch.float32).tiny)
    heat = torch.rand(64, device="cuda") * 2
    heat[::5] = 0.0
    drawn = race(scores, heat, waits)
    # Two scores that differ in the last place may change places: few, if any.
    assert (drawn == race_reference(scores, heat, waits)).sum() >= 63
    assert torch.equal(best_tokens(scores), scores.argmax(dim=-1))
    logprobs, ranks = chosen_logprobs(scores, drawn)
    expected, expected_ranks = chosen_logprobs_reference(scores, drawn)
    torch.testing.assert_close(logprobs, expected, atol=1e-4, rtol=1e-5)
    assert torch.equal(ranks, expected_ranks)


@pytest.mark.parametrize("which", ["k", "p", "both"])
def test_the_filters(which) -> None:
    from mini_vllm.kernels.triton.top_k_top_p import apply_top_k_top_p
    from mini_vllm.sample import top_k_top_p as oracle

    scores = 4 * rand(32, VOCABULARY)
    top_k = torch.randint(1, 200, (32,), device="cuda") if which != "p" else None
    top_p = torch.rand(32, device="cuda") * 0.9 + 0.05 if which != "k" else None
    ours = apply_top_k_top_p(scores.clone(), top_k, top_p)
    theirs = oracle.apply_top_k_top_p(scores.clone(), top_k, top_p)
    kept, wanted = ours.isfinite().sum(-1), theirs.isfinite().sum(-1)
    # Sums over a vocabulary round in another order, and the boundary may move.
    allowed = torch.zeros_like(wanted) if which == "k" else 1 + wanted // 1000
    assert ((kept - wanted).abs() <= allowed).all()


def test_launches_can_be_recorded_and_replayed() -> None:
    """No kernel waits for the device or asks the host in the middle."""
    from mini_vllm.kernels.triton.race import race
    from mini_vllm.kernels.triton.top_k_top_p import apply_top_k_top_p
    from mini_vllm.kernels.triton_kernels import TritonKernels

    kernels, x = TritonKernels(), rand(8, 2 * 1024)
    weight, heat = rand(1024), torch.ones(8, device="cuda")
    waits = torch.empty(8, 1024, device="cuda").exponential_()
    top_p = torch.full((8,), 0.9, device="cuda")

    def step():
        scores = kernels.rms_norm(kernels.silu_and_mul(x), weight, 1e-6)
        return race(apply_top_k_top_p(scores, None, top_p), heat, waits)

    step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        drawn = step()
    x.copy_(rand(8, 2 * 1024))
    graph.replay()
    recorded = drawn.clone()
    assert torch.equal(recorded, step())


def test_auto_chooses_these_kernels() -> None:
    from mini_vllm.kernels.selector import select_kernels

    choice = select_kernels(torch.device("cuda"), torch.bfloat16)
    assert choice.kernels.name == "triton", choice.reason
