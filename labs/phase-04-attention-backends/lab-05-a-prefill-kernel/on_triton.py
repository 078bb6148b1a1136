r"""The kernel of this lab in Triton itself, beside dense attention in torch.

    TRITON_INTERPRET=1 LAB_TRITON=1 python on_triton.py FILE cpu       # Triton's interpreter
    LAB_TRITON=1 python on_triton.py FILE compile                      # for devices not here
    LAB_TRITON=1 python on_triton.py FILE cuda                         # compiled, on a GPU

`FILE` is `starter.py` or `solution.py`. Prints one line of JSON: what ran where, and the largest
difference for each shape; or what the compiler made of the kernel. What is the same for every lab
of kernels is in `labs/labkit/triton_process.py`.
"""

from __future__ import annotations

import re
import sys

import torch

from labkit.triton_process import answer, block_tables, largest_error, machine_code

# chunks as (tokens, length of the text), block size, query heads, heads of keys, numbers, window
SHAPES = [
    ([(5, 5)], 16, 1, 1, 16, 0),
    ([(20, 37), (1, 9)], 16, 8, 2, 16, 0),
    ([(3, 33), (18, 18)], 4, 6, 2, 24, 0),
    ([(20, 50)], 16, 4, 4, 32, 13),
]
# A generation, a window, and what its matrix units are told in the portable assembly.
TARGETS = [(80, 100, r"\bmma\.sync"), (90, 0, r"\bwgmma\.mma_async")]


def dense(query, keys, values, window: int):
    r"""One chunk's attention in float32, from the definition."""
    group, (num_tokens, length) = query.shape[1] // keys.shape[1], (len(query), len(keys))
    keys, values = (t.float().repeat_interleave(group, 1) for t in (keys, values))
    behind = torch.arange(length - num_tokens, length)[:, None] - torch.arange(length)
    seen = (behind >= 0) & (behind < (window or length))
    scores = torch.einsum("qhd,khd->hqk", query.float(), keys) * query.shape[2] ** -0.5
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, values)


def difference(impl, shape, device: str, dtype: torch.dtype, **tiles: int) -> float:
    r"""The largest error of any number of a launch over a cache that is NaN where it is unused."""
    chunks, block_size, num_heads, num_kv_heads, size, window = shape
    draw = torch.Generator().manual_seed(0)
    lengths = [length for _, length in chunks]
    tables, num_blocks = block_tables(lengths, block_size, draw)
    caches = torch.full((2, num_blocks, block_size, num_kv_heads, size), float("nan"), dtype=dtype)
    texts, queries = [], []
    for table, (num_tokens, length) in zip(tables, chunks):
        text = torch.randn(2, length, num_kv_heads, size, generator=draw).to(dtype)
        for place in range(length):
            caches[:, table[place // block_size], place % block_size] = text[:, place]
        texts.append(text)
        queries.append(torch.randn(num_tokens, num_heads, size, generator=draw).to(dtype))
    query = torch.cat(queries).to(device)
    starts = torch.tensor([0, *(tokens for tokens, _ in chunks)]).cumsum(0)
    out = torch.full_like(query, float("nan"))
    arrays = (*caches, tables, starts, torch.tensor(lengths))
    longest = max(tokens for tokens, _ in chunks)
    impl.prefill(
        query, *(a.to(device) for a in arrays), out, size**-0.5, longest, window=window, **tiles
    )
    wanted = torch.cat([dense(q, *text, window) for q, text in zip(queries, texts)])
    return largest_error(out, wanted)


def compared(impl, device: str) -> dict[str, object]:
    r"""The type of the numbers, and the largest difference for each shape."""
    dtype, tiles = torch.float16, {"rows": 64, "tile": 64}
    if device == "cpu":
        # Short types are rounded differently by the interpreter; the simulator's tests have them.
        dtype, tiles = torch.float32, {"rows": 16, "tile": 16}
    differences = [difference(impl, shape, device, dtype, **tiles) for shape in SHAPES]
    return {"dtype": str(dtype), "differences": differences}


SIGNATURE = {
    **dict.fromkeys(("query", "k_cache", "v_cache"), "*fp16"),
    **dict.fromkeys(("tables", "starts", "lengths"), "*i64"),
    "out": "*fp16",
    "scale": "fp32",
    **dict.fromkeys(("max_blocks", "num_kv_heads", "group", "size"), "i32"),
    **dict.fromkeys(("WINDOW", "BLOCK", "ROWS", "TILE", "SIZE"), "constexpr"),
}
CONSTANTS = {"BLOCK": 16, "ROWS": 64, "TILE": 64, "SIZE": 64}


def compiled(impl) -> dict[str, dict[str, int]]:
    r"""For two generations of devices: bytes of machine code, and orders to the matrix units."""
    found = {}
    for capability, window, order in TARGETS:
        constants = CONSTANTS | {"WINDOW": window}
        made = machine_code(impl.prefill_kernel, SIGNATURE, constants, capability)
        orders = len(re.findall(order, made["ptx"]))
        found[f"sm_{capability}"] = {
            "window": window,
            "bytes": len(made["cubin"]),
            "matrix orders": orders,
        }
    return found


if __name__ == "__main__":
    answer(sys.argv[1:], compared=compared, compiled=compiled)
