r"""The kernels of this lab in Triton itself, beside dense attention in torch.

    TRITON_INTERPRET=1 LAB_TRITON=1 python on_triton.py FILE cpu       # Triton's interpreter
    LAB_TRITON=1 python on_triton.py FILE compile                      # for devices not here
    LAB_TRITON=1 python on_triton.py FILE cuda                         # compiled, on a GPU

`FILE` is `starter.py` or `solution.py`. A process of its own, because Triton decides when it is
first imported whether it interprets, and because an address outside of an array ends the process.
Prints one line of JSON: what ran where, and the largest difference for each shape; or how many
bytes of machine code the compiled kernels have.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
from pathlib import Path

import torch

# requests' lengths, block size, query heads, heads of keys and values, numbers a head
SHAPES = [
    ([1], 16, 1, 1, 16),
    ([37, 16, 5], 16, 8, 2, 16),
    ([3, 33], 16, 6, 2, 24),
    ([70, 1, 12], 32, 4, 4, 64),
]


def load(path: Path):
    r"""The implementation under judgment, on Triton."""
    spec = importlib.util.spec_from_file_location("lab_on_triton", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def difference(impl, shape, device: str) -> float:
    r"""Fill a cache with the kernel, attend with the kernel; the largest error of any number."""
    lengths, block_size, num_heads, num_kv_heads, size = shape
    draw = torch.Generator().manual_seed(0)
    counts = [-(-length // block_size) for length in lengths]
    order = torch.randperm(sum(counts) + 2, generator=draw, dtype=torch.int64)
    tables = torch.full((len(lengths), max(counts) + 1), 10**6, dtype=torch.int64)
    caches = torch.full(
        (2, len(order), block_size, num_kv_heads, size), float("nan"), device=device
    )
    query = torch.randn(len(lengths), num_heads, size, generator=draw)
    texts, slots = [], []
    for request, (length, count) in enumerate(zip(lengths, counts)):
        first = sum(counts[:request])
        tables[request, :count] = order[first : first + count]
        texts.append(torch.randn(2, length, num_kv_heads, size, generator=draw))
        slots += [
            int(tables[request, place // block_size]) * block_size + place % block_size
            for place in range(length)
        ]
    news = torch.cat([*texts, torch.zeros(2, 1, num_kv_heads, size)], dim=1)
    out = torch.full_like(query, float("nan"), device=device)
    impl.write(*news.to(device), *caches, torch.tensor([*slots, -1]).to(device))
    sizes = torch.tensor(lengths).to(device)
    impl.decode(query.to(device), *caches, tables.to(device), sizes, out, size**-0.5)
    worst = 0.0
    for request, (keys, values) in enumerate(texts):
        keys, values = (t.repeat_interleave(num_heads // num_kv_heads, 1) for t in (keys, values))
        scores = torch.einsum("hd,thd->ht", query[request], keys) * size**-0.5
        wanted = torch.einsum("ht,thd->hd", scores.softmax(-1), values)
        found = (out[request].cpu() - wanted).abs().max().item()
        worst = max(worst, found) if found == found else float("inf")
    return worst


def compiled(impl) -> dict[str, dict[str, int]]:
    r"""The size in bytes of each kernel's machine code, for two generations of devices."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernels = {
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
    return {
        f"sm_{capability}": {
            name: len(
                triton.compile(
                    ASTSource(getattr(impl, name), signature, constants),
                    target=GPUTarget("cuda", capability, 32),
                ).asm["cubin"]
            )
            for name, (signature, constants) in kernels.items()
        }
        for capability in (80, 90)
    }


def main(path: str, device: str) -> None:
    r"""Run all shapes, or compile, and print the line."""
    import triton

    impl = load(Path(path).resolve())
    if device == "compile":
        print(json.dumps({"compiled": compiled(impl)}))
        return
    on = platform.machine() if device == "cpu" else torch.cuda.get_device_name()
    told = {
        "device": on,
        "interpreted": bool(triton.knobs.runtime.interpret),
        "versions": {"triton": triton.__version__, "torch": torch.__version__},
        "differences": [difference(impl, shape, device) for shape in SHAPES],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
