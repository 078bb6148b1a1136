"""The compiled loops against plain torch, and their arithmetic against exact results."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from mini_vllm.errors import ConfigError
from mini_vllm.kernels import numba_kernels, onednn
from mini_vllm.kernels.bits import FASTMATH, exp_clamped, narrow, widen
from mini_vllm.kernels.numba_kernels import NumbaKernels, as_array
from mini_vllm.kernels.onednn import OneDnnKernels, why_not_onednn
from mini_vllm.kernels.selector import select_kernels, why_not_triton
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.kernels.triton import availability

IMPLEMENTATIONS = [TorchKernels(), NumbaKernels()]
# One place in bfloat16's mantissa is 2**-8 of the value.
TOLERANCE = {
    torch.float32: {"atol": 2e-6, "rtol": 2e-6},
    torch.bfloat16: {"atol": 1e-2, "rtol": 2**-7},
}


@njit
def _exp_all(x):
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        out[i] = exp_clamped(x[i])
    return out


@njit
def _narrow_all(values, out):
    for i in range(values.shape[0]):
        out[i] = narrow(values[i], out)


@njit
def _widen_all(bits, out):
    for i in range(bits.shape[0]):
        out[i] = widen(bits[i])


class TestBits:
    def test_exponential_within_one_unit_in_the_last_place(self):
        x = np.linspace(-86.9, 86.9, 200_001).astype(np.float32)
        exact = np.exp(x.astype(np.float64))
        error = np.abs(_exp_all(x) - exact) / np.spacing(exact.astype(np.float32))
        assert error.max() < 1.0

    def test_exponential_of_a_mask_is_as_good_as_zero(self):
        x = np.array([-np.inf, -1000.0, -87.5], np.float32)
        assert (_exp_all(x) < 1e-37).all()

    def test_every_bfloat16_widens_exactly(self):
        bits = np.arange(2**16, dtype=np.uint16)
        ours = np.empty(bits.size, np.float32)
        _widen_all(bits, ours)
        theirs = torch.from_numpy(bits).view(torch.bfloat16).float().numpy()
        assert ours.view(np.uint32).tolist() == theirs.view(np.uint32).tolist()

    @given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
    @settings(max_examples=200, deadline=None)
    def test_rounds_as_torch_does(self, values):
        wide = np.array(values, np.float32)
        ours = np.empty(wide.size, np.uint16)
        _narrow_all(wide, ours)
        theirs = torch.from_numpy(wide).bfloat16().view(torch.uint16).numpy()
        assert ours.tolist() == theirs.tolist()

    def test_ties_go_to_even_and_nan_stays_nan(self):
        one = 0x3F800000
        bits = [one | 0x8000, one | 0x18000, one | 0x8001, one | 0x7FFF, 0x7FFFFFFF, 0x7F800001]
        wide = np.array(bits, np.uint32).view(np.float32)
        ours = np.empty(wide.size, np.uint16)
        _narrow_all(wide, ours)
        assert ours[:4].tolist() == [0x3F80, 0x3F82, 0x3F81, 0x3F80]
        assert torch.from_numpy(ours[4:]).view(torch.bfloat16).isnan().all()

    def test_infinities_are_not_optimised_away(self):
        assert not {"nnan", "ninf", "fast"} & FASTMATH


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("num_tokens", [1, 5, 33])
class TestAgreement:
    """Odd sizes, so that the tail of a vector loop is exercised."""

    def compare(self, run, dtype):
        expected, actual = (run(kernels) for kernels in IMPLEMENTATIONS)
        torch.testing.assert_close(actual, expected, **TOLERANCE[dtype])

    @pytest.mark.parametrize(("in_size", "out_size"), [(3, 5), (64, 96), (130, 7)])
    @pytest.mark.parametrize("with_bias", [False, True])
    def test_linear(self, num_tokens, in_size, out_size, with_bias, dtype):
        x, weight = torch.randn(num_tokens, in_size), torch.randn(out_size, in_size)
        x, weight = (x / in_size**0.5).to(dtype), weight.to(dtype)
        bias = torch.randn(out_size).to(dtype) if with_bias else None
        self.compare(lambda k: k.linear(x, weight, bias), dtype)
        self.compare(lambda k: k.prepare_linear(weight, bias)(x), dtype)
        if why_not_onednn(dtype) is None:
            packed = OneDnnKernels().prepare_linear(weight, bias)(x)
            expected = TorchKernels().linear(x, weight, bias)
            torch.testing.assert_close(packed, expected, **TOLERANCE[dtype])

    @pytest.mark.parametrize("size", [8, 67, 256])
    def test_norms(self, num_tokens, size, dtype):
        x, residual = torch.randn(2, num_tokens, size).to(dtype)
        weight = torch.randn(size).to(dtype)
        self.compare(lambda k: k.rms_norm(x, weight, 1e-5), dtype)
        self.compare(lambda k: k.add_rms_norm(x, residual, weight, 1e-5), dtype)

    @pytest.mark.parametrize("size", [3, 40, 129])
    def test_silu_and_mul(self, num_tokens, size, dtype):
        x = (20 * torch.randn(num_tokens, 2 * size)).to(dtype)
        self.compare(lambda k: k.silu_and_mul(x), dtype)

    @pytest.mark.parametrize("head_size", [2, 16, 80])
    @pytest.mark.parametrize("with_norm", [False, True])
    def test_split_qkv_rotary(self, num_tokens, head_size, with_norm, dtype):
        qkv = torch.randn(num_tokens, (3 + 2 * 2) * head_size).to(dtype)
        positions = torch.randint(0, 50, (num_tokens,))
        table = torch.randn(50, head_size)
        norms = torch.rand(2, head_size).to(dtype) if with_norm else (None, None)
        self.compare(lambda k: k.split_qkv_rotary(qkv, positions, table, 3, 2, *norms), dtype)


@pytest.mark.parametrize("kernels", IMPLEMENTATIONS, ids=lambda k: k.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_nothing_is_modified_in_place__nano_vllm_170(kernels, dtype):
    """A norm that works in place overwrites the residual when the cast to float32 is no copy."""
    tensors = {
        "x": torch.randn(4, 64),
        "residual": torch.randn(4, 64),
        "weight": torch.randn(64),
        "qkv": torch.randn(4, 4 * 16),
        "norm": torch.rand(16),
    }
    tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    kernels.rms_norm(tensors["x"], tensors["weight"], 1e-5)
    kernels.add_rms_norm(tensors["x"], tensors["residual"], tensors["weight"], 1e-5)
    kernels.silu_and_mul(tensors["x"])
    positions, table = torch.arange(4), torch.randn(4, 16)
    norm = tensors["norm"]
    kernels.split_qkv_rotary(tensors["qkv"], positions, table, 2, 1, norm, norm)
    for name, tensor in tensors.items():
        assert torch.equal(tensor, before[name]), name


class TestSelector:
    cpu = torch.device("cpu")

    def test_chooses_and_says_why(self):
        fastest = "numba" if why_not_onednn(torch.bfloat16) else "onednn"
        assert select_kernels(self.cpu, torch.bfloat16).kernels.name == fastest
        choice = select_kernels(self.cpu, torch.float16)
        assert choice.kernels.name == "torch"
        assert "float16" in choice.reason

    def test_a_name_is_an_order(self):
        assert select_kernels(self.cpu, torch.float32, "torch").kernels.name == "torch"
        assert select_kernels(self.cpu, torch.float32, "numba").kernels.name == "numba"
        with pytest.raises(ConfigError, match=r"'numba' cannot be used.*float16"):
            select_kernels(self.cpu, torch.float16, "numba")
        with pytest.raises(ConfigError, match=r"'fastest'.*auto, triton, onednn, numba, torch"):
            select_kernels(self.cpu, torch.float32, "fastest")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without CUDA")
    def test_without_a_device_nothing_is_chosen_for_it(self):
        choice = select_kernels(torch.device("cuda"), torch.bfloat16)
        assert choice.kernels.name == "torch"
        assert choice.reason == "torch finds no CUDA device here"

    def test_triton_is_chosen_on_cuda_unless_something_stands_in_the_way(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        cuda = torch.device("cuda")
        monkeypatch.setattr(availability, "is_installed", lambda: True)
        assert why_not_triton(cuda) is None
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
        monkeypatch.setattr(availability, "is_installed", lambda: False)
        choice = select_kernels(cuda, torch.float16)
        assert choice.kernels.name == "torch"
        assert "triton is not installed" in choice.reason
        assert "this device has 7.5" in choice.reason
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        assert "would interpret" in select_kernels(cuda, torch.float16).reason
        with pytest.raises(ConfigError, match="'triton' cannot be used: triton is not installed"):
            select_kernels(cuda, torch.float16, "triton")

    def test_a_cpu_that_compiles_cannot_run_them(self):
        with pytest.raises(ConfigError, match="run on cuda, not on cpu"):
            select_kernels(self.cpu, torch.float32, "triton")

    def test_without_packing_the_plain_loops_serve(self, monkeypatch):
        monkeypatch.setattr(onednn, "_pack", lambda weight: torch.ops.mkldnn.no_such_operation)
        choice = select_kernels(self.cpu, torch.float32)
        assert choice.kernels.name == "numba"
        assert "no_such_operation" in choice.reason
        with pytest.raises(ConfigError, match=r"'onednn' cannot be used.*no_such_operation"):
            select_kernels(self.cpu, torch.float32, "onednn")


@pytest.mark.skipif(why_not_onednn(torch.float32) is not None, reason="needs oneDNN")
class TestPackedWeights:
    """What is multiplied is the copy; without room for one, the original."""

    x, weight = torch.randn(3, 32), torch.randn(48, 32)

    @pytest.mark.parametrize(("memory", "is_packed"), [(4 * 48 * 32 * 4, True), (0, False)])
    def test_a_copy_is_made_if_there_is_room(self, monkeypatch, memory, is_packed):
        monkeypatch.setattr(onednn, "available_host_memory", lambda: memory)
        weight = self.weight.clone()
        product = OneDnnKernels().prepare_linear(weight)
        before = product(self.x)
        torch.testing.assert_close(before, self.x @ self.weight.T)
        weight.zero_()
        assert torch.equal(product(self.x), before) == is_packed


def test_threads_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(numba_kernels, "WORTH_A_TEAM", 0)
    x, weight = torch.randn(1, 64), torch.randn(50, 64)
    one = NumbaKernels().linear(x, weight)
    torch.set_num_threads(2)
    try:
        two = NumbaKernels().linear(x, weight)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, two)


def test_an_array_shares_the_tensors_memory():
    for dtype in (torch.float32, torch.bfloat16):
        tensor = torch.zeros(3, dtype=dtype)
        as_array(tensor)[1] = 0x3F80 if dtype == torch.bfloat16 else 1.0
        assert tensor.tolist() == [0.0, 1.0, 0.0]
