"""What the compiler makes of the kernels that only move and touch up."""

from __future__ import annotations

import pytest
import torch

from mini_vllm.kernels.triton.activation import silu_and_mul
from mini_vllm.kernels.triton.compiling import CAPABILITIES, compile_launches, recorded_launches
from mini_vllm.kernels.triton.kv_write import write_kv
from mini_vllm.kernels.triton.norm import add_rms_norm, rms_norm

BF16, F32 = torch.bfloat16, torch.float32
DTYPES = (F32, torch.float16, BF16)


def empty(*shape: int, dtype: torch.dtype = BF16) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def compiled(call, capability: int):
    (kernel,) = compile_launches(call, capability)
    assert kernel.stack_bytes == 0
    return kernel


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
class TestEveryTypeAndDevice:
    def test_write_kv(self, dtype, capability) -> None:
        key, caches = empty(64, 8, 128, dtype=dtype), empty(2, 100, 8, 16, 128, dtype=dtype)
        slots = empty(64, dtype=torch.int64)
        kernel = compiled(lambda: write_kv(key, key, *caches, slots), capability)
        # 16 bytes a thread and instruction, in and out
        assert kernel.count(r"ld\.global.*v4\.b32") >= 2
        assert kernel.count(r"st\.global.*v4\.b32") >= 2

    def test_add_rms_norm(self, dtype, capability) -> None:
        x, weight = empty(64, 4096, dtype=dtype), empty(4096, dtype=dtype)
        kernel = compiled(lambda: add_rms_norm(x, x, weight, 1e-6), capability)
        assert kernel.count(r"ld\.global.*v4\.b32") >= 3
        # one sum over the warps, through shared memory and with shuffles
        assert kernel.count(r"shfl\.sync") > 0
        assert kernel.shared_bytes > 0

    def test_silu_and_mul(self, dtype, capability) -> None:
        x = empty(64, 2 * 3072, dtype=dtype)
        kernel = compiled(lambda: silu_and_mul(x), capability)
        assert kernel.count(r"ld\.global.*v4\.b32") >= 2
        assert kernel.shared_bytes == 0


def test_the_longest_row_still_fits_into_registers() -> None:
    x, weight = empty(4, 32768, dtype=F32), empty(32768, dtype=F32)
    (kernel,) = compile_launches(lambda: rms_norm(x, weight, 1e-6), 90)
    assert (kernel.stack_bytes, kernel.num_warps) == (0, 16)


def test_heads_share_a_program() -> None:
    x, weight = empty(64, 16, 128), empty(128)
    (launch,) = recorded_launches(lambda: rms_norm(x, weight, 1e-6))
    assert launch.grid == (64 * 16 // 8,)
    assert (launch.constants["ROWS"], launch.constants["SIZE"]) == (8, 128)


def test_an_odd_width_gives_up_wide_loads() -> None:
    x, weight = empty(64, 4097), empty(4097)
    (kernel,) = compile_launches(lambda: rms_norm(x, weight, 1e-6), 90)
    assert kernel.count(r"ld\.global.*v4") == 0


def test_a_launch_is_recorded_as_a_device_would_see_it() -> None:
    x, weight = empty(3, 48), empty(48)
    (launch,) = recorded_launches(lambda: rms_norm(x[:, 8:], weight[8:], 1e-6))
    assert launch.signature["x"] == "*bf16:16"
    assert launch.signature["x_stride"] == "i32:16"
    assert launch.signature["size"] == "i32"
    assert launch.signature["eps"] == "fp32"
    assert launch.constants["residual"] is None
    (launch,) = recorded_launches(lambda: rms_norm(x[:, 1:], weight[1:], 1e-6))
    assert launch.signature["x"] == "*bf16"
    (launch,) = recorded_launches(lambda: rms_norm(x[:1], weight, 1e-6))
    assert launch.constants["num_rows"] == 1
