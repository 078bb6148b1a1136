r"""The attention backends of the engine, compared by this lab's functions.

    python on_real_backends.py FILE            # the backends of this machine's CPU, float32
    python on_real_backends.py FILE cuda       # those of its GPU, bfloat16
    python on_real_backends.py FILE small      # a step so small that a test can wait for it

`FILE` is `starter.py` or `solution.py`. Prints a table for a step of decodes and one for a chunk.
The oracle is the engine's reference on the CPU, in float32, on the numbers as the type has rounded
them. Bandwidth and rate, from which the floor is made, are measured before the first turn.
"""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mini_vllm.attention.backend import AttentionBackend, AttentionSelectorConfig
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.selector import backend_class, obstacles_to

BLOCK = 16


class Heads(NamedTuple):
    r"""What a backend reads off a layer."""

    num_heads: int
    num_kv_heads: int
    head_size: int
    scale: float
    sliding_window: int | None = None
    logits_soft_cap: float | None = None


class Setting(NamedTuple):
    r"""A device, its type of number, the steps, who takes part; MiB to find the bandwidth with."""

    device: str
    dtype: str
    heads: Heads
    steps: dict[str, list[tuple[int, int]]]
    names: tuple[str, ...]
    rounds: int
    mebibytes: int


CPU_NAMES = ("torch_reference", "cpu_numba", "triton", "flash_attention")
CUDA_NAMES = ("torch_reference", "triton", "flash_attention", "flashinfer")
SETTINGS = {
    # Keys and values that no cache of a processor holds; memory sets the pace of the first step.
    "cpu": Setting(
        "cpu",
        "float32",
        Heads(8, 4, 64, 0.125),
        {"decodes": [(1, 4096)] * 8, "a chunk": [(256, 4096)]},
        CPU_NAMES,
        15,
        256,
    ),
    "cuda": Setting(
        "cuda",
        "bfloat16",
        Heads(32, 8, 128, 128**-0.5),
        {"decodes": [(1, 4096)] * 32, "a chunk": [(2048, 8192)]},
        CUDA_NAMES,
        50,
        2048,
    ),
    "small": Setting(
        "cpu",
        "float32",
        Heads(4, 2, 16, 0.25),
        {"decodes": [(1, 90), (1, 33)], "a chunk": [(20, 50)]},
        CPU_NAMES,
        8,
        64,
    ),
}


def load(path: Path) -> Any:
    r"""The implementation under judgment."""
    spec = importlib.util.spec_from_file_location("lab_on_real_backends", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Step:
    r"""One step over random pages in a random order; `on` puts it on a device in a type."""

    def __init__(self, heads: Heads, chunks: list[tuple[int, int]], dtype: torch.dtype) -> None:
        draw = torch.Generator().manual_seed(0)
        counts = [-(-length // BLOCK) for _, length in chunks]
        order = torch.randperm(sum(counts), generator=draw, dtype=torch.int32) + 1
        self.table = torch.zeros(len(counts), max(counts), dtype=torch.int32)
        slots = []
        for row, blocks in enumerate(order.split(counts)):
            self.table[row, : len(blocks)] = blocks
            tokens, length = chunks[row]
            places = torch.arange(length - tokens, length)
            slots.append(blocks[places // BLOCK].long() * BLOCK + places % BLOCK)
        self.slots, self.chunks, self.heads = torch.cat(slots), chunks, heads
        shape = AttentionBackend.kv_cache_shape(
            sum(counts) + 1, BLOCK, heads.num_kv_heads, heads.head_size
        )
        total = sum(tokens for tokens, _ in chunks)
        sizes = ((total, n, heads.head_size) for n in heads[:2])
        own, stored = sizes
        self.numbers = [
            torch.randn(size, generator=draw).to(dtype) for size in (own, stored, stored, shape)
        ]

    def on(self, device: str, dtype: torch.dtype, name: str) -> tuple[list[str], Any]:
        r"""What stands against a backend here, and the step as a function of nothing."""
        capable = torch.cuda.get_device_capability() if device == "cuda" else None
        config = AttentionSelectorConfig(
            torch.device(device),
            dtype,
            self.heads.head_size,
            self.heads.num_heads,
            self.heads.num_kv_heads,
            BLOCK,
            compute_capability=capable,
        )
        if against := obstacles_to(name, config):
            return against, None
        backend = backend_class(name)
        tokens = torch.tensor([0, *(tokens for tokens, _ in self.chunks)])
        metadata = backend.make_builder(config).build(
            AttentionMetadata(
                query_start_loc=tokens.cumsum(0).int().to(device),
                seq_lens=torch.tensor([n for _, n in self.chunks], dtype=torch.int32).to(device),
                block_table=self.table.to(device),
                slot_mapping=self.slots.to(device),
                max_query_len=max(tokens for tokens, _ in self.chunks),
                max_seq_len=max(length for _, length in self.chunks),
                num_actual_tokens=int(tokens.sum()),
            )
        )
        numbers = [tensor.to(device, dtype) for tensor in self.numbers]
        made = backend()
        return [], lambda: made.forward(self.heads, *numbers, metadata)


def limits(setting: Setting, impl: Any) -> tuple[Any, str]:
    r"""Bandwidth and rate, measured here and now, and the machine in words."""
    if setting.device == "cuda":
        from mini_vllm.bench.gpu.limits import cuda_limits
        from mini_vllm.bench.gpu.timer import CudaTimer

        found = cuda_limits(torch.cuda.get_device_name(), CudaTimer())
        return impl.Device(found.bandwidth, found.rate), found.name
    from mini_vllm.bench.bandwidth import bandwidth, products

    read = bandwidth(mebibytes=setting.mebibytes, passes=3)["bytes_per_s"]
    rate = products(size=512, passes=10)[setting.dtype]
    return impl.Device(read, rate), f"{platform.machine()}, one thread"


def commit() -> str:
    r"""Which version of this project ran."""
    words = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        told = ""
    return told.strip() or "unknown: not a checkout"


def main(path: str, which: str = "cpu") -> None:
    r"""Compare on every step of a setting, and print the tables."""
    setting, impl = SETTINGS[which], load(Path(path).resolve())
    torch.set_num_threads(1)
    dtype, heads = getattr(torch, setting.dtype), setting.heads
    device, machine = limits(setting, impl)
    wait = torch.cuda.synchronize if setting.device == "cuda" else lambda: None
    bytes_a_number = torch.empty((), dtype=dtype).element_size()
    for title, chunks in setting.steps.items():
        step = Step(heads, chunks, dtype)
        _, reference = step.on("cpu", torch.float32, "torch_reference")
        contestants = []
        for name in setting.names:
            against, work = step.on(setting.device, dtype, name)
            if against:
                contestants.append(impl.Contestant(name, obstacle=", ".join(against)))
                continue
            contestants.append(
                impl.Contestant(name, lambda work=work: work().float().cpu().numpy(), work)
            )
        count = impl.cost(
            chunks,
            num_heads=heads.num_heads,
            num_kv_heads=heads.num_kv_heads,
            size=heads.head_size,
            number_bytes=bytes_a_number,
        )
        least, bound = impl.floor(count, device)
        rows = impl.compare(
            contestants,
            reference().numpy(),
            setting.dtype,
            least,
            setting.rounds,
            warm_up=3,
            clock=time.perf_counter,
            wait=wait,
        )
        words = ", ".join(
            f"{chunks.count(chunk)} x {chunk[0]} of {chunk[1]}" for chunk in dict.fromkeys(chunks)
        )
        facts = {
            "device": f"{machine}; {device.bandwidth:.3g} B/s and {device.rate:.3g} operations/s, "
            "measured in this run",
            "versions": f"torch {torch.__version__}, Python {platform.python_version()}",
            "commit": commit(),
            "command": f"python on_real_backends.py {Path(path).name} {which}",
            "dtype": setting.dtype,
            "step": f"{title}, {words} tokens; heads "
            f"{heads.num_heads} / {heads.num_kv_heads} of {heads.head_size}; the floor is "
            f"{1e3 * least:.3f} ms, by {bound}",
            "rounds": setting.rounds,
        }
        print(impl.table(rows, "torch_reference", facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
