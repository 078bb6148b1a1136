"""One grid of attention problems, for every backend, on a CPU, in the interpreter and on a GPU.

A case is a step: requests with something stored and something new, in pages whose order was
shuffled. Whatever was never written holds NaN, so that a backend which reads a place too many says
so. `expected` is dense attention in float64, token by token, and knows no pages.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from mini_vllm.attention.backend import AttentionBackend, AttentionSelectorConfig
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.metadata_builder import AttentionMetadataBuilder

#: (stored, new) per request.
MIXES: dict[str, list[tuple[int, int]]] = {
    "decodes": [(5, 1), (16, 1), (47, 1), (0, 1)],
    "prompts": [(0, 9), (0, 33), (0, 2)],
    "chunks": [(16, 16), (3, 7), (31, 2)],
    "mixed": [(40, 1), (0, 17), (12, 1), (8, 24), (0, 1)],
    "one long": [(95, 1)],
}
#: How far an output may be from the float64 answer for the same, already rounded, inputs. Outputs
#: are averages of normal numbers, at most about 4 in size. float32: sums of up to a hundred terms
#: in another order. The 16-bit types: rounding of the result, 2**-11 and 2**-8 of its size at
#: most, and as much again where the weights are rounded before they meet the values.
TOLERANCE = {torch.float32: 3e-6, torch.float16: 5e-3, torch.bfloat16: 4e-2}


@dataclass(frozen=True)
class Shape:
    """The layer's side of a case."""

    num_heads: int
    num_kv_heads: int
    head_size: int
    scale: float
    sliding_window: int | None
    logits_soft_cap: float | None


#: Cases by name; what a name leaves out is the default of `Case`. Each value of each axis stands
#: beside decodes and beside runs.
GRID: dict[str, dict[str, Any]] = {}


def _add(**case: Any) -> None:
    case.setdefault("heads", (2, 1))
    label = ", ".join(f"{k} {v}" for k, v in case.items() if k != "mix" and v != (2, 1)).replace(
        "torch.", ""
    )
    GRID[f"{case['mix']}: {label}"] = case


for _mix in MIXES:
    _add(mix=_mix, heads=(4, 2))
for _mix, _block_size in itertools.product(("decodes", "mixed"), (1, 3, 4, 128)):
    _add(mix=_mix, block_size=_block_size)
for _mix, _heads in itertools.product(("decodes", "chunks"), ((2, 2), (4, 1), (8, 1), (6, 2))):
    _add(mix=_mix, heads=_heads)
for _mix, _head_size in itertools.product(("decodes", "mixed"), (8, 16, 20, 64, 80, 128)):
    _add(mix=_mix, head_size=_head_size)
# Borders of a block of 16: just inside, on it, just past it; and a window of the token alone.
for _mix, _window in itertools.product(("decodes", "mixed", "one long"), (1, 15, 16, 17, 33)):
    _add(mix=_mix, window=_window)
# One that bends every score, and one that bends few.
for _mix, _cap in itertools.product(("decodes", "mixed"), (0.5, 30.0)):
    _add(mix=_mix, soft_cap=_cap)
_add(mix="mixed", soft_cap=2.0, window=9, block_size=4, heads=(6, 2), head_size=24)
for _mix, _dtype in itertools.product(("decodes", "mixed"), (torch.float16, torch.bfloat16)):
    _add(mix=_mix, dtype=_dtype)
    _add(mix=_mix, dtype=_dtype, window=17, head_size=40, heads=(4, 1))
    _add(mix=_mix, dtype=_dtype, soft_cap=1.0)
for _mix in ("decodes", "mixed"):
    _add(mix=_mix, padding=5)


class Case:
    """Random pages that hold some requests, and a step for them; all else is NaN.

    `padding` adds that many tokens after the last request, with slots of -1. `forgotten` replaces
    the blocks behind every query's window by stale ids. `poison` is what unwritten places hold.
    """

    def __init__(
        self,
        mix: str | Sequence[tuple[int, int]],
        heads: tuple[int, int] = (4, 2),
        head_size: int = 32,
        block_size: int = 16,
        dtype: torch.dtype = torch.float32,
        window: int | None = None,
        soft_cap: float | None = None,
        padding: int = 0,
        forgotten: bool = False,
        seed: int = 0,
        device: str = "cpu",
        poison: float = math.nan,
    ) -> None:
        rng = torch.Generator().manual_seed(seed)
        num_heads, kv_heads = heads
        self.mix = MIXES[mix] if isinstance(mix, str) else list(mix)
        scale = 1 / math.sqrt(head_size)
        self.layer = Shape(num_heads, kv_heads, head_size, scale, window, soft_cap)
        self.config = AttentionSelectorConfig(
            device=torch.device(device),
            dtype=dtype,
            head_size=head_size,
            num_heads=num_heads,
            num_kv_heads=kv_heads,
            block_size=block_size,
            sliding_windows=(window,),
            logits_soft_caps=(soft_cap,),
            compute_capability=(
                torch.cuda.get_device_capability() if device.startswith("cuda") else None
            ),
        )
        lengths = [stored + new for stored, new in self.mix]
        blocks = [-(-length // block_size) for length in lengths]
        num_blocks = sum(blocks) + 3
        order = (torch.randperm(num_blocks - 1, generator=rng) + 1).tolist()
        rows = [[order.pop() for _ in range(n)] for n in blocks]
        stale = order.pop()
        shape = AttentionBackend.kv_cache_shape(num_blocks, block_size, kv_heads, head_size)
        pages = torch.full(shape, poison, dtype=dtype)
        self.full = [
            torch.randn(2, kv_heads, n, head_size, generator=rng).to(dtype) for n in lengths
        ]
        query, key, value, slots = [], [], [], []
        for (stored, new), row, kv in zip(self.mix, rows, self.full, strict=True):
            for position in range(stored + new):
                block, place = row[position // block_size], position % block_size
                if position < stored:
                    pages[:, block, :, place] = kv[:, :, position]
                else:
                    slots.append(block * block_size + place)
            key.append(kv[0, :, stored:].transpose(0, 1))
            value.append(kv[1, :, stored:].transpose(0, 1))
            query.append(torch.randn(new, num_heads, head_size, generator=rng).to(dtype))
            if forgotten and window is not None:
                for i in range(max(stored + 1 - window, 0) // block_size):
                    pages[:, row[i]] = float("nan")
                    row[i] = stale
        for parts, count in ((query, num_heads), (key, kv_heads), (value, kv_heads)):
            parts.append(torch.full((padding, count, head_size), 7.0, dtype=dtype))
        slots += [-1] * padding
        self.query, self.key, self.value = (
            torch.cat(parts).contiguous().to(device) for parts in (query, key, value)
        )
        self.pages = pages.to(device)
        # Entries past a row's blocks are stale ids of blocks that exist and hold NaN.
        table = torch.full((len(self.mix), max(blocks) + 1), stale, dtype=torch.int32)
        for i, row in enumerate(rows):
            table[i, : len(row)] = torch.tensor(row, dtype=torch.int32)
        new_lens = [new for _, new in self.mix]
        starts = torch.tensor([0, *itertools.accumulate(new_lens)], dtype=torch.int32)
        self.num_tokens = sum(new_lens)
        self.common = AttentionMetadata(
            query_start_loc=starts.to(device),
            seq_lens=torch.tensor(lengths, dtype=torch.int32, device=device),
            block_table=table.to(device),
            slot_mapping=torch.tensor(slots, device=device),
            max_query_len=max(new_lens),
            max_seq_len=max(lengths),
            num_actual_tokens=self.num_tokens,
        )

    def run(
        self, backend: type[AttentionBackend], builder: AttentionMetadataBuilder | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What a layer gets from the backend, without padding, and the pages afterwards."""
        builder = builder or backend.make_builder(self.config)
        pages = self.pages.clone()
        metadata = builder.build(self.common)
        out = backend().forward(self.layer, self.query, self.key, self.value, pages, metadata)
        return out[: self.num_tokens], pages

    def run_last_tokens(self, backend: type[AttentionBackend]) -> torch.Tensor:
        """The same step as the model's last layer asks for it: one query a request."""
        metadata = backend.make_builder(self.config).build(self.common)
        narrowed, pages = metadata.last_tokens_only, self.pages.clone()
        query = self.query[metadata.last_tokens].contiguous()
        return backend().forward(self.layer, query, self.key, self.value, pages, narrowed)

    def expected(self) -> torch.Tensor:
        """Dense attention in float64, token by token: `[num_tokens, num_heads, head_size]`."""
        layer, rows, token = self.layer, [], 0
        group = layer.num_heads // layer.num_kv_heads
        queries = self.query.cpu().double()
        for (stored, new), kv in zip(self.mix, self.full, strict=True):
            keys, values = kv.double().repeat_interleave(group, dim=1)
            for position in range(stored, stored + new):
                window = layer.sliding_window or position + 1
                seen = slice(max(position + 1 - window, 0), position + 1)
                scores = (keys[:, seen] * queries[token].unsqueeze(1)).sum(-1) * layer.scale
                if layer.logits_soft_cap is not None:
                    scores = layer.logits_soft_cap * torch.tanh(scores / layer.logits_soft_cap)
                weights = scores.softmax(-1).unsqueeze(-1)
                rows.append((weights * values[:, seen]).sum(1))
                token += 1
        return torch.stack(rows)

    def check(self, out: torch.Tensor) -> None:
        """Fails unless `out` is the answer, to the tolerance of the type."""
        assert out.dtype == self.query.dtype
        # A bounded score is right to a rounding or two of its bound.
        tolerance = TOLERANCE[out.dtype] + 3e-7 * (self.layer.logits_soft_cap or 0)
        torch.testing.assert_close(out.cpu().double(), self.expected(), atol=tolerance, rtol=0)

    def check_pages(self, pages: torch.Tensor) -> None:
        """Fails unless this step's keys and values are at their slots, and nothing else changed."""
        # [2, blocks, heads, places, d] -> [2, slots, heads, d]
        after, before = (p.cpu().transpose(2, 3).flatten(1, 2) for p in (pages, self.pages))
        slots = self.common.slot_mapping.cpu()
        stored = slots >= 0
        assert torch.equal(after[0, slots[stored]], self.key.cpu()[stored])
        assert torch.equal(after[1, slots[stored]], self.value.cpu()[stored])
        untouched = torch.ones(after.shape[1], dtype=torch.bool)
        untouched[slots[stored]] = False
        torch.testing.assert_close(
            after[:, untouched], before[:, untouched], atol=0, rtol=0, equal_nan=True
        )


def triton_builder(case: Case, segments: int = 1, tile: int = 16) -> Any:
    """A builder under which short texts take several tiles, in exactly so many segments."""
    from mini_vllm.attention.triton_attention import TritonMetadataBuilder

    # As many processors as leave room in the workspace for the segments that are forced below.
    builder = TritonMetadataBuilder(case.config, num_processors=8 * segments**2, tile=tile)
    plan = builder.plan
    builder.plan = lambda *step: replace(plan(*step), num_segments=segments)
    # Whatever is read before it was written spoils the result.
    builder.workspace.fill_(math.nan)
    return builder


def run_triton(case: Case, segments: int = 1, tile: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """The Triton backend on a case, with the past cut as told."""
    from mini_vllm.attention.triton_attention import TritonAttentionBackend

    return case.run(TritonAttentionBackend, triton_builder(case, segments, tile))
