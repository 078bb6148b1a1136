r"""Why is the same matrix rearranged a thousand times a second?

A fast product does not read a matrix row by row. It keeps a small tile of the result in registers
and feeds it from a copy of the weight in the order in which the tile wants it: 16 or 32 columns
side by side, and in bfloat16 two neighbours of a column together, since one instruction multiplies
pairs. `torch.nn.functional.linear` makes that copy, and throws it away, in every call. For a
prompt of {given}`500 tokens` nobody notices: each copied number is used 500 times. For the 16 rows
of a decode step the copy is most of the work.

The weights of a server never change. So they are copied once, after loading, and every later
product begins where the copy ended. The library is oneDNN, which torch brings along; the two
operations below are those that `torch.compile` calls when it freezes a model. Upstream does the
same, at the same moment:
{up}`vllm/model_executor/layers/utils.py#dispatch_cpu_unquantized_gemm`.

## What it costs

The weights once more. Upstream throws the original away and keeps it only for the embedding. Here
a single row is still multiplied by the loop of {py:mod}`~mini_vllm.kernels.matvec`, which reads
the original faster than the library reads its copy, so both stay. A machine that has no room
for both keeps the original: see {py:data}`SHARE`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from mini_vllm.kernels import matvec
from mini_vllm.kernels.numba_kernels import NumbaKernels, as_array, num_threads
from mini_vllm.platforms import available_host_memory

#: A weight is copied if its copy takes at most this share of the memory that is available.
SHARE = 1 / 4

# The library lays out a copy for an expected number of rows. Told of one row, it picks a layout
# that is slow for all others; from here on, the choice makes no difference.
_EXPECTED_ROWS = 512


def why_not_onednn(dtype: torch.dtype) -> str | None:
    """The reason why weights cannot be packed here, or None if they can. Tries it, in small."""
    if not torch.backends.mkldnn.is_available():
        return "this build of torch comes without oneDNN"
    try:
        packed = _pack(torch.zeros(16, 16, dtype=dtype))
        _multiply(torch.zeros(2, 16, dtype=dtype), packed, None)
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        return f"oneDNN refuses {dtype} here: {str(error).splitlines()[0]}"
    return None


class OneDnnKernels(NumbaKernels):
    """The compiled loops, and all that can be prepared when weights are final: products with
    weights that are packed once, and single tokens with one call per layer.
    """

    name = "onednn"
    fuses_single_tokens = True

    def prepare_linear(
        self, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        r"""See {py:meth}`~mini_vllm.kernels.interface.Kernels.prepare_linear`.

        Packs the weight if there is room for a copy.
        """
        if weight.nbytes > SHARE * available_host_memory():
            return super().prepare_linear(weight, bias)
        nothing = self._nothing[weight.dtype]
        weight_rows, packed = as_array(weight), _pack(weight)
        bias_row = nothing if bias is None else as_array(bias)

        def product(x: torch.Tensor) -> torch.Tensor:
            if x.shape[0] != 1:
                return _multiply(x, packed, bias)
            out = x.new_empty((1, weight_rows.shape[0]))
            loop = matvec.matvec if num_threads(weight_rows.size) == 1 else matvec.matvec_parallel
            loop(as_array(x)[0], weight_rows, bias_row, as_array(out)[0])
            return out

        return product


def _pack(weight: torch.Tensor) -> torch.Tensor:
    # An opaque tensor: its shape can be asked for, its elements cannot.
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _EXPECTED_ROWS)


def _multiply(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    # "none", [] and "": no activation is fused into the product, so it has no arguments.
    return torch.ops.mkldnn._linear_pointwise.default(x, packed, bias, "none", [], "")
