"""The kernels around attention and after the model, compiled for devices that are not here."""

from __future__ import annotations

import pytest
import torch

from mini_vllm.kernels.triton.chosen_logprobs import chosen_logprobs
from mini_vllm.kernels.triton.compiling import CAPABILITIES, compile_launches, recorded_launches
from mini_vllm.kernels.triton.race import best_tokens, race
from mini_vllm.kernels.triton.rotary import split_qkv_rotary
from mini_vllm.kernels.triton.top_k_top_p import apply_top_k_top_p

F32, BF16 = torch.float32, torch.bfloat16
QWEN_VOCABULARY = 151_936


def empty(*shape: int, dtype: torch.dtype = F32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def rotary(dtype: torch.dtype, *, norm: bool, head_size: int = 128, rotated: int = 128):
    qkv, positions = empty(64, 32 * head_size, dtype=dtype), empty(64, dtype=torch.int64)
    norms = [empty(head_size, dtype=dtype)] * 2 if norm else [None, None]
    table = empty(40960, rotated)
    return lambda: split_qkv_rotary(qkv, positions, table, 16, 8, *norms, head_size=head_size)


@pytest.mark.parametrize("capability", CAPABILITIES)
class TestEveryDevice:
    @pytest.mark.parametrize("dtype", [F32, torch.float16, BF16], ids=str)
    @pytest.mark.parametrize("norm", [False, True])
    def test_rotary(self, norm, dtype, capability) -> None:
        (kernel,) = compile_launches(rotary(dtype, norm=norm), capability)
        assert kernel.count(r"ld\.global.*v[248]\.b32") > 0
        assert kernel.stack_bytes == 0

    def test_rotary_of_a_part(self, capability) -> None:
        (kernel,) = compile_launches(rotary(BF16, norm=True, rotated=64), capability)
        assert kernel.stack_bytes == 0

    def test_the_race(self, capability) -> None:
        scores, heat = empty(64, QWEN_VOCABULARY), empty(64)
        piece, row = compile_launches(lambda: race(scores, heat, scores), capability)
        assert piece.count(r"ld\.global.*v4\.b32") >= 2 * 8
        assert (piece.name, row.name) == ("best_of_piece_kernel", "best_of_row_kernel")
        assert piece.stack_bytes == row.stack_bytes == 0
        compile_launches(lambda: best_tokens(scores), capability)

    @pytest.mark.parametrize(("k", "p"), [(True, True), (True, False), (False, True)])
    def test_the_filters(self, k, p, capability) -> None:
        scores = empty(64, QWEN_VOCABULARY)
        top_k = empty(64, dtype=torch.int64) if k else None
        top_p = empty(64) if p else None
        (kernel,) = compile_launches(lambda: apply_top_k_top_p(scores, top_k, top_p), capability)
        assert kernel.stack_bytes == 0
        assert kernel.count(r"ld\.global.*v4\.b32") > 0

    def test_chosen_logprobs(self, capability) -> None:
        scores, tokens = empty(64, QWEN_VOCABULARY), empty(64, dtype=torch.int64)
        (kernel,) = compile_launches(lambda: chosen_logprobs(scores, tokens), capability)
        assert kernel.stack_bytes == 0


def test_grids() -> None:
    (launch,) = recorded_launches(rotary(BF16, norm=True))
    assert launch.grid == (64, 4)
    scores, heat = empty(3, QWEN_VOCABULARY), empty(3)
    piece, row = recorded_launches(lambda: race(scores, heat, scores))
    assert (piece.grid, row.grid) == ((3, 38), (3,))
