"""What becomes of the graphs that were asked for, cell by cell of the table."""

from __future__ import annotations

from enum import Enum

import pytest

from mini_vllm.compilation.resolution import resolve_cudagraph_mode
from mini_vllm.config.compilation import CUDAGraphMode
from mini_vllm.errors import ConfigError


class Support(Enum):
    """As in `mini_vllm.attention.backend`, which loads torch."""

    NEVER = 0
    UNIFORM_SINGLE_TOKEN_DECODE = 1
    UNIFORM_BATCH = 2
    ALWAYS = 3


F, P, D, B = "FULL", "PIECEWISE", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE"
TABLE = {
    "NONE": ("NONE", "NONE", "NONE", "NONE"),
    P: (P, P, P, P),
    F: (None, B, B, F),
    D: (P, D, D, D),
    B: (P, B, B, B),
}


@pytest.mark.parametrize("asked", TABLE)
@pytest.mark.parametrize("support", Support)
def test_the_table(asked: str, support: Support) -> None:
    expected = TABLE[asked][support.value]
    if expected is None:
        with pytest.raises(ConfigError, match="FULL cannot be had: attention backend b can be"):
            resolve_cudagraph_mode(CUDAGraphMode[asked], support, "b")
        return
    found = resolve_cudagraph_mode(CUDAGraphMode[asked], support, "b")
    assert found.mode is CUDAGraphMode[expected]
    assert bool(found.reasons) == (expected != asked)
    assert all(asked in reason and "backend b" in reason for reason in found.reasons)
    assert str(found).startswith(f"cudagraph_mode={expected}")


def test_drafts_need_more_than_single_tokens() -> None:
    single, batch = Support.UNIFORM_SINGLE_TOKEN_DECODE, Support.UNIFORM_BATCH
    found = resolve_cudagraph_mode(CUDAGraphMode.FULL, single, "b", uniform_decode_query_len=4)
    assert found.mode is CUDAGraphMode.PIECEWISE
    assert len(found.reasons) == 2
    assert "a decode has 4 tokens" in found.reasons[1]
    found = resolve_cudagraph_mode(CUDAGraphMode.FULL_DECODE_ONLY, batch, "b", 4)
    assert found.mode is CUDAGraphMode.FULL_DECODE_ONLY
