r"""How does a torch tensor get into a compiled loop, and what does that cost?

A CPU tensor and a NumPy array can share memory, so the way in is a view: no copy, about a
microsecond each. A bfloat16 tensor goes in as `uint16`, since NumPy has no such type (see
{py:mod}`mini_vllm.kernels.bits`).

A loop is compiled when it is first called with a new combination of types, and the machine code is
kept in the `__pycache__` beside its source. The first run on a machine therefore takes some
seconds, and later ones milliseconds.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
import torch.nn.functional as F

from mini_vllm.kernels import elementwise, matvec
from mini_vllm.kernels.interface import Kernels

#: The types that the loops are compiled for.
DTYPES = (torch.float32, torch.bfloat16)

#: How many numbers a loop must read to be worth a team of threads. A million take about 0.1 ms;
#: waking a team takes a tenth of that on an idle machine, and milliseconds on one that is busy.
WORTH_A_TEAM = 1 << 20


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """The memory of a CPU tensor as an array; bfloat16 comes as its bits, in `uint16`."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy()
    return tensor.numpy()


def num_threads(work: int) -> int:
    r"""How many threads a loop over `work` numbers should use: as many as torch may, or one.

    One, if the loop is over before a second thread has woken up: see {py:data}`WORTH_A_TEAM`.
    Numba counts its threads itself; this sets the number, so that one setting rules both. For a
    single thread it is left alone, because asking would start a team that then waits for work.
    """
    if work < WORTH_A_TEAM:
        return 1
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    threads = min(torch.get_num_threads(), most)
    if threads > 1:
        numba.set_num_threads(threads)
    return threads


class NumbaKernels(Kernels):
    """The operations as compiled loops over rows, for float32 and bfloat16 on the CPU.

    Inputs must be contiguous; a strided one would compile a second, slower version of its loop.
    """

    name = "numba"

    def __init__(self) -> None:
        # What stands for "no norm" and "no bias": a loop's arguments must have one type.
        self._nothing = {
            torch.float32: np.empty(0, np.float32),
            torch.bfloat16: np.empty(0, np.uint16),
        }

    def linear(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        r"""See {py:meth}`~mini_vllm.kernels.interface.Kernels.linear`.

        Only a single row is multiplied here; more of them are the library's.
        """
        if x.shape[0] != 1:
            return F.linear(x, weight, bias)
        out = x.new_empty((1, weight.shape[0]))
        product = matvec.matvec if num_threads(weight.numel()) == 1 else matvec.matvec_parallel
        product(
            as_array(x)[0],
            as_array(weight),
            self._nothing[x.dtype] if bias is None else as_array(bias),
            as_array(out)[0],
        )
        return out

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.rms_norm`."""
        out = torch.empty_like(x)
        elementwise.rms_norm(as_array(x), as_array(weight), np.float32(eps), as_array(out))
        return out

    def add_rms_norm(
        self, x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.add_rms_norm`."""
        out, total = torch.empty_like(x), torch.empty_like(x)
        elementwise.add_rms_norm(
            as_array(x),
            as_array(residual),
            as_array(weight),
            np.float32(eps),
            as_array(out),
            as_array(total),
        )
        return out, total

    def silu_and_mul(self, x: torch.Tensor) -> torch.Tensor:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.silu_and_mul`."""
        out = x.new_empty((x.shape[0], x.shape[1] // 2))
        elementwise.silu_and_mul(as_array(x), as_array(out))
        return out

    def split_qkv_rotary(
        self,
        qkv: torch.Tensor,
        positions: torch.Tensor,
        cos_sin_cache: torch.Tensor,
        num_heads: int,
        num_kv_heads: int,
        q_norm: torch.Tensor | None = None,
        k_norm: torch.Tensor | None = None,
        eps: float = 1e-6,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.split_qkv_rotary`."""
        num_tokens, head_size = qkv.shape[0], cos_sin_cache.shape[1]
        query = qkv.new_empty((num_tokens, num_heads, head_size))
        key = qkv.new_empty((num_tokens, num_kv_heads, head_size))
        value = torch.empty_like(key)
        none = self._nothing[qkv.dtype]
        elementwise.split_qkv_rotary(
            as_array(qkv),
            as_array(positions),
            as_array(cos_sin_cache),
            none if q_norm is None else as_array(q_norm),
            none if k_norm is None else as_array(k_norm),
            np.float32(eps),
            as_array(query),
            as_array(key),
            as_array(value),
        )
        return query, key, value
