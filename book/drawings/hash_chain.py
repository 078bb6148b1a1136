r"""The names of blocks as a chain: who can find whose, and why equal tokens may not be enough.

```python
from book.drawings.hash_chain import draw_hash_chain

draw_hash_chain({"A": [...], "B": [...]}, block_size=4)
plt.show()
```
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from book.figures import palette, plt
from mini_vllm.core.prefix_hash import ROOT_HASH, hash_block_tokens

DIGITS = 6  # of a name's 64 hexadecimal ones; enough to tell the names of a picture apart


@dataclass(frozen=True)
class ChainLink:
    """A block of a prompt: its tokens, and its name if the block is full."""

    tokens: tuple[int, ...]
    name: bytes | None

    @property
    def label(self) -> str:
        """The first digits of the name."""
        return self.name.hex()[:DIGITS] if self.name else "no name"


def chain(tokens: Sequence[int], block_size: int) -> list[ChainLink]:
    """The blocks of a prompt, each full one named by the engine from the one before."""
    links, parent = [], ROOT_HASH
    for start in range(0, len(tokens), block_size):
        block = tuple(tokens[start : start + block_size])
        name = hash_block_tokens(parent, block) if len(block) == block_size else None
        links.append(ChainLink(block, name))
        parent = name or parent
    return links


def draw_hash_chain(prompts: Mapping[str, Sequence[int]], block_size: int) -> Figure:
    r"""Draw a row for each prompt; equal names have one colour and thick frames.

    `prompts` maps the letter at the left of a row to token ids, which should have two digits at
    most. A name that only one prompt has stays without colour.
    """
    chains = {letter: chain(tokens, block_size) for letter, tokens in prompts.items()}
    counts = Counter(link.name for links in chains.values() for link in links if link.name)
    shared = [name for name, count in counts.items() if count > 1]
    shades = (palette.blue_soft, palette.green_soft, palette.purple_soft, palette.orange_soft)
    colours = {name: shades[i % len(shades)] for i, name in enumerate(shared)}

    width, gap, height = 2.3, 0.75, 0.62
    columns = max(len(links) for links in chains.values())
    fig, ax = plt.subplots(figsize=(7.2, 0.35 + 1.05 * len(chains)))
    for row, (letter, links) in enumerate(chains.items()):
        y = -1.25 * row
        ax.text(-1.15, y, letter, fontweight="semibold", fontsize=12, va="center", ha="center")
        ax.text(-0.42, y, "root", color=palette.muted, fontsize=9, va="center", ha="center")
        for column, link in enumerate(links):
            x = column * (width + gap) + 0.35
            _box(ax, x, y, width, height, link, colours.get(link.name))
        places = [-0.42 + 0.33, *(i * (width + gap) + 0.35 + width for i in range(len(links) - 1))]
        starts = [i * (width + gap) + 0.35 for i in range(len(links))]
        for (end, start), link in zip(zip(places, starts, strict=True), links, strict=True):
            style = {"arrowstyle": "-|>", "color": palette.muted, "shrinkA": 1, "shrinkB": 1}
            if link.name is None:
                style |= {"linestyle": ":"}
            ax.annotate("", (start, y), (end, y), arrowprops=style)
    ax.set(xlim=(-1.5, columns * (width + gap)), ylim=(-1.25 * (len(chains) - 1) - 0.75, 0.6))
    ax.set_axis_off()
    return fig


def _box(
    ax: Axes, x: float, y: float, width: float, height: float, link: ChainLink, colour: str | None
) -> None:
    full = link.name is not None
    ax.add_patch(
        FancyBboxPatch(
            (x, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=colour or palette.paper,
            edgecolor=palette.ink if colour else palette.muted,
            linewidth=1.8 if colour else 1.0,
            linestyle="-" if full else "--",
        )
    )
    middle = x + width / 2
    ax.text(middle, y, "  ".join(map(str, link.tokens)), ha="center", va="center", fontsize=10)
    ax.text(
        middle,
        y - height / 2 - 0.07,
        link.label,
        ha="center",
        va="top",
        fontsize=9,
        color=palette.ink if full else palette.muted,
        fontweight="semibold" if colour else "normal",
    )
