r"""One memory, given out in three ways: who lies where, and which places hold nothing.

```python
from book.drawings.memory_map import Life, draw_memory_map, in_blocks, in_rows

lives = [Life("A", prompt=20, answer=14, asked=32), ...]
rows = in_rows(lives, 192, steps=12, size_of=lambda life: life.prompt + life.asked)
blocks = in_blocks(lives, 192, steps=12, block_size=8)
draw_memory_map({"extents": rows, "blocks": blocks}, 192)
plt.show()
```

The blocks are the engine's own: it runs, and its block tables are drawn. The rows are those of a
server from before paging, first fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from book.figures import palette, plt
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.sampling_params import SamplingParams

#: What a place may be to the request that has it; a place that nobody has is in no piece.
KINDS = ("tokens", "to come", "never used")


@dataclass(frozen=True)
class Life:
    """A request: its prompt, the answer that it will get, and the `max_tokens` it asked for."""

    name: str
    prompt: int
    answer: int
    asked: int

    @property
    def places(self) -> int:
        """How many places it fills in the end; the last token of an answer is never computed."""
        return self.prompt + self.answer - 1


@dataclass(frozen=True)
class Piece:
    """A stretch of the memory that belongs to one request, all of one kind."""

    start: int
    length: int
    owner: str
    kind: str


def in_rows(
    lives: Sequence[Life], memory: int, steps: int, size_of: Callable[[Life], int]
) -> list[Piece]:
    r"""First fit: each request gets `size_of` places in a row, in the order of arrival.

    All are there at the beginning; a prompt is read in the step of its admission, and each further
    step adds a token. Returns who lies where after `steps` steps.
    """
    waiting, held = list(lives), {}
    for _ in range(steps):
        # Whoever has all its tokens has ended, and its row is free.
        held = {life: row for life, row in held.items() if row[1] < life.places}
        for life in held:
            held[life] = (held[life][0], held[life][1] + 1)
        while waiting and (start := _hole(held, size_of, size_of(waiting[0]), memory)) is not None:
            first = waiting.pop(0)
            held[first] = (start, first.prompt)
    pieces = []
    for life, (start, now) in sorted(held.items(), key=lambda item: item[1]):
        ends = (now, life.places, size_of(life))
        for kind, begin, end in zip(KINDS, (0, *ends), ends, strict=False):
            if end > begin:
                pieces.append(Piece(start + begin, end - begin, life.name, kind))
    return pieces


def _hole(held: Mapping, size_of: Callable[[Life], int], size: int, memory: int) -> int | None:
    """Where the first hole of `size` places begins, if there is one."""
    at = 0
    for life, (start, _) in sorted(held.items(), key=lambda item: item[1]):
        if start - at >= size:
            return at
        at = start + size_of(life)
    return at if at + size <= memory else None


def in_blocks(lives: Sequence[Life], memory: int, steps: int, block_size: int) -> list[Piece]:
    """The engine's blocks after `steps` steps, block 1 at the beginning of the memory."""
    engine = LLMEngine.from_scripted(
        default=[1] * max(life.answer for life in lives),
        block_size=block_size,
        num_gpu_blocks=memory // block_size + 1,
        max_model_len=memory,
        max_num_batched_tokens=memory,
        max_num_seqs=len(lives),
        enable_prefix_caching=False,
    )
    for life in lives:
        params = SamplingParams(temperature=0, max_tokens=life.answer)
        engine.add_request(life.name, {"prompt_token_ids": [2] * life.prompt}, params)
    for _ in range(steps):
        engine.step()
    scheduler = engine.engine_core.scheduler
    pieces = []
    for life in lives:
        for index, block in enumerate(scheduler.kv_cache_manager.get_block_ids(life.name)):
            computed = scheduler.requests[life.name].num_computed_tokens - index * block_size
            now, start = min(computed, block_size), (block - 1) * block_size
            pieces.append(Piece(start, now, life.name, "tokens"))
            if now < block_size:
                pieces.append(Piece(start + now, block_size - now, life.name, "to come"))
    return sorted(pieces, key=lambda piece: piece.start)


def draw_memory_map(strips: Mapping[str, Sequence[Piece]], memory: int) -> Figure:
    """Draw a strip for each way to give out the memory, with its requests and its waste."""
    owners = sorted({piece.owner for pieces in strips.values() for piece in pieces})
    soft = ("blue_soft", "green_soft", "purple_soft", "red_soft")
    colours = {name: getattr(palette, soft[i % len(soft)]) for i, name in enumerate(owners)}
    fig, ax = plt.subplots(figsize=(7.2, 0.55 + 0.72 * len(strips)))
    for y, pieces in enumerate(strips.values()):
        ax.add_patch(Rectangle((0, y - 0.3), memory, 0.6, fc=palette.paper, ec=palette.muted))
        for piece in pieces:
            look = {
                "tokens": {"fc": colours[piece.owner]},
                "to come": {"fc": palette.paper, "hatch": "....", "ec": palette.muted},
                "never used": {"fc": palette.orange_soft, "hatch": "////", "ec": palette.orange},
            }[piece.kind]
            place = (piece.start, y - 0.3)
            ax.add_patch(Rectangle(place, piece.length, 0.6, **({"ec": palette.paper} | look)))
            if piece.kind == "tokens" and piece.length * 60 >= memory:
                x = piece.start + piece.length / 2
                ax.text(x, y, piece.owner, ha="center", va="center", fontsize=9)
        used = sum(piece.length for piece in pieces if piece.kind == "tokens")
        ax.text(memory * 1.015, y, f"{used / memory:.0%}", va="center", fontweight="semibold")
    ax.text(memory * 1.015, -0.62, "tokens", va="center", fontsize=9, color=palette.muted)
    ax.set_yticks(range(len(strips)), strips)
    ax.set(xlim=(0, memory), ylim=(len(strips) - 0.55, -0.8))
    ax.set_xticks(range(0, memory + 1, memory // 4))
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    signs = [
        Patch(fc=palette.blue_soft, ec=palette.paper, label="tokens of a request"),
        Patch(fc=palette.paper, ec=palette.muted, hatch="....", label="its own, still to be used"),
        Patch(fc=palette.orange_soft, ec=palette.orange, hatch="////", label="its own, never used"),
        Patch(fc=palette.paper, ec=palette.muted, label="nobody's"),
    ]
    ax.legend(handles=signs, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=8.5)
    return fig
