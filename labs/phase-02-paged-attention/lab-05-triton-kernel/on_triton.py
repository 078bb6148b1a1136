r"""The kernels of this lab in Triton itself, beside dense attention in torch.

    TRITON_INTERPRET=1 LAB_TRITON=1 python on_triton.py FILE cpu       # Triton's interpreter
    LAB_TRITON=1 python on_triton.py FILE compile                      # for devices not here
    LAB_TRITON=1 python on_triton.py FILE cuda                         # compiled, on a GPU

`FILE` is `starter.py` or `solution.py`. Prints one line of JSON: what ran where, and the largest
difference for each shape; or how many bytes of machine code the compiled kernels have. What is the
same for every lab of kernels is in `labs/labkit/triton_process.py`.
"""

from __future__ import annotations

import sys

import torch

from labkit.triton_process import answer, block_tables, largest_error, machine_code

# requests' lengths, block size, query heads, heads of keys and values, numbers a head
SHAPES = [
    ([1], 16, 1, 1, 16),
    ([37, 16, 5], 16, 8, 2, 16),
    ([3, 33], 16, 6, 2, 24),
    ([70, 1, 12], 32, 4, 4, 64),
]


def difference(impl, shape, device: str) -> float:
    r"""Fill a cache with the kernel, attend with the kernel; the largest error of any number."""
    lengths, block_size, num_heads, num_kv_heads, size = shape
    draw = torch.Generator().manual_seed(0)
    tables, num_blocks = block_tables(lengths, block_size, draw)
    caches = torch.full((2, num_blocks, block_size, num_kv_heads, size), float("nan"))
    keys_cache, values_cache = caches.to(device)
    query = torch.randn(len(lengths), num_heads, size, generator=draw)
    texts, slots = [], []
    for table, length in zip(tables, lengths):
        texts.append(torch.randn(2, length, num_kv_heads, size, generator=draw))
        slots += [
            int(table[place // block_size]) * block_size + place % block_size
            for place in range(length)
        ]
    news = torch.cat([*texts, torch.zeros(2, 1, num_kv_heads, size)], dim=1)
    out = torch.full_like(query, float("nan"), device=device)
    slots_and_padding = torch.tensor([*slots, -1]).to(device)
    impl.write(*news.to(device), keys_cache, values_cache, slots_and_padding)
    arrays = (query.to(device), keys_cache, values_cache, tables.to(device))
    impl.decode(*arrays, torch.tensor(lengths).to(device), out, size**-0.5)
    wanted = [dense(*both, size**-0.5) for both in zip(query, texts)]
    return largest_error(out, torch.stack(wanted))


def dense(query, text, scale: float):
    r"""One request's last token, from the definition: `[num_heads, size]`."""
    group = query.shape[0] // text.shape[2]
    keys, values = text.repeat_interleave(group, 2)
    scores = torch.einsum("hd,thd->ht", query, keys) * scale
    return torch.einsum("ht,thd->hd", scores.softmax(-1), values)


def compared(impl, device: str) -> dict[str, list[float]]:
    r"""The largest difference for each shape."""
    return {"differences": [difference(impl, shape, device) for shape in SHAPES]}


KERNELS = {
    "write_kernel": (
        {
            **dict.fromkeys(("keys", "values", "k_cache", "v_cache"), "*fp32"),
            "slots": "*i64",
            "row": "i32",
            "ROW": "constexpr",
        },
        {"ROW": 128},
    ),
    "decode_kernel": (
        {
            **dict.fromkeys(("query", "k_cache", "v_cache"), "*fp32"),
            "tables": "*i64",
            "lengths": "*i64",
            "out": "*fp32",
            "scale": "fp32",
            **dict.fromkeys(("max_blocks", "num_kv_heads", "group", "size"), "i32"),
            **dict.fromkeys(("BLOCK", "GROUP", "SIZE"), "constexpr"),
        },
        {"BLOCK": 16, "GROUP": 4, "SIZE": 64},
    ),
}


def compiled(impl) -> dict[str, dict[str, int]]:
    r"""The size in bytes of each kernel's machine code, for two generations of devices."""
    return {
        f"sm_{capability}": {
            name: len(machine_code(getattr(impl, name), *types, capability)["cubin"])
            for name, types in KERNELS.items()
        }
        for capability in (80, 90)
    }


if __name__ == "__main__":
    answer(sys.argv[1:], compared=compared, compiled=compiled)
