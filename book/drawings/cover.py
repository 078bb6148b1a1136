r"""The cover: what the engine decided for a crowd of requests, one row a step, time running down.

A row is as wide as the token budget. A wide piece reads a prompt, or as much of one as fits; a
piece of one token continues an answer, and from row to row such pieces become a thread. A thread
moves left when somebody before it has ended. Requests and lengths come from a seeded generator;
everything else the scheduler of this book decided, and the line at the foot counts it.

```python
from book.drawings.cover import cover_svg

Path("cover.svg").write_text(cover_svg(), encoding="utf-8")
```

`cover_svg()` needs no font, no script and no network, takes well under a second, and gives the
same bytes every time. It is 1600 by 2560, the shape that readers of ePub expect; a PDF may scale
it to the height of its page. A picture for previews, 1280 by 640, is `banner_svg()`.

```sh
python -m book.drawings.cover cover.svg            # or --banner banner.svg
```
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from book.drawings.lettering import outline
from book.drawings.mark import shapes
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.observe.probe import Probe
from mini_vllm.sampling_params import SamplingParams

TITLE = ("Inside", "the Engine")
LINE = ("An executable book on LLM inference,", "from one forward pass to a merged change")
PAPER, INK, MUTED, ACCENT = "#15181d", "#f2f0ea", "#9aa2ae", "#ee9a5b"
COLOURS = ("#74aeee", "#4c82c0", "#ee9a5b", "#a8ccf2", "#3f6ea6", "#5fc3cc", "#d7e4f2", "#c2703a")
_MARK = {"line": INK, "first": "#74aeee", "second": "#ee9a5b"}

BUDGET = 64
SEED = 1
WIDTH, HEIGHT = 1600, 2560


@dataclass(frozen=True)
class Crowd:
    """A run: for each step, in the scheduler's order, which request got how many tokens."""

    steps: tuple[tuple[tuple[int, int], ...], ...]
    num_requests: int

    @property
    def num_tokens(self) -> int:
        """How many tokens were computed in all."""
        return sum(tokens for step in self.steps for _, tokens in step)


def crowd(num_steps: int = 96, budget: int = BUDGET, seed: int = SEED) -> Crowd:
    r"""Run the engine for `num_steps` steps while requests arrive in waves.

    The waves are there so that both things can be seen: prompts that fill the budget to its edge,
    and steps that only continue answers.
    """
    chance = random.Random(seed)
    engine = LLMEngine.from_scripted(
        default=[1] * 64,
        max_num_batched_tokens=budget,
        max_num_seqs=40,
        max_model_len=256,
        num_gpu_blocks=1024,
        enable_prefix_caching=False,
    )
    count = 0
    with Probe(engine) as probe:
        for step in range(num_steps):
            busy = step % 24 < 13
            arriving = chance.choice((0, 1, 1, 2, 3) if busy else (0, 0, 0, 0, 1))
            for _ in range(max(arriving, 1 if not count else 0)):
                prompt = [1] * chance.choice((6, 9, 14, 22, 35, 58, 90))
                params = SamplingParams(max_tokens=chance.randint(8, 40), ignore_eos=True)
                engine.add_request(f"{count}", {"prompt_token_ids": prompt}, params)
                count += 1
            engine.step()
        steps = tuple(
            tuple(
                (int(name), row.num_scheduled_tokens)
                for name, row in record.requests.items()
                if row.num_scheduled_tokens
            )
            for record in probe.records
        )
    return Crowd(steps, count)


def threads(run: Crowd, x: float, y: float, token: float, row: float) -> str:
    """The rows, joined: a request's pieces at full strength, its ways between two rows fainter."""
    places: dict[int, list[tuple[int, int, int]]] = {}
    for step, pieces in enumerate(run.steps):
        at = 0
        for request, tokens in pieces:
            places.setdefault(request, []).append((step, at, tokens))
            at += tokens
    solid, gap = row * 0.62, min(token * 0.16, 3.0)
    groups = []
    for request, spots in sorted(places.items()):
        pieces, ways = [], []
        for step, at, tokens in spots:
            left, right = x + at * token, x + (at + tokens) * token - gap
            top = y + step * row
            pieces.append(f"M{left:.1f} {top:.1f}H{right:.1f}v{solid:.1f}H{left:.1f}z")
        for (step, at, tokens), (after, place, amount) in pairwise(spots):
            if after != step + 1:
                continue
            top, bottom = y + step * row + solid, y + after * row
            middle = (top + bottom) / 2
            a, b = x + at * token, x + (at + tokens) * token - gap
            c, d = x + place * token, x + (place + amount) * token - gap
            ways.append(
                f"M{a:.1f} {top:.1f}C{a:.1f} {middle:.1f} {c:.1f} {middle:.1f} {c:.1f} {bottom:.1f}"
                f"H{d:.1f}C{d:.1f} {middle:.1f} {b:.1f} {middle:.1f} {b:.1f} {top:.1f}z"
            )
        way = f'<path opacity=".42" d="{"".join(ways)}"/>' if ways else ""
        colour = COLOURS[request % len(COLOURS)]
        groups.append(f'<g fill="{colour}">{way}<path d="{"".join(pieces)}"/></g>')
    return "".join(groups)


def _sheet(width: int, height: int, body: str, alt: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{alt}">'
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>{body}</svg>\n'
    )


def _alt(run: Crowd) -> str:
    return (
        f"Inside the Engine. {run.num_requests} requests as coloured threads, "
        f"one row for each of {len(run.steps)} steps of the engine."
    )


def cover_svg() -> str:
    """The portrait cover, 1600 by 2560, letters drawn as outlines."""
    run = crowd()
    left, right, top = 120, WIDTH - 120, 890
    token = (right - left) / BUDGET
    row = (HEIGHT - 150 - top) / len(run.steps)
    foot = HEIGHT - 72
    counted = f"{run.num_requests} requests, {run.num_tokens:,} tokens, {len(run.steps)} steps"
    body = [
        f'<g transform="translate({left} 130) scale(4.2)">{shapes(_MARK)}</g>',
        outline(TITLE[0], left - 12, 462, 218, fill=INK, weight="SemiBold", tracking=-0.022),
        outline(TITLE[1], left - 8, 670, 218, fill=INK, weight="SemiBold", tracking=-0.022),
        *(outline(text, left, 764 + 54 * i, 42, fill=MUTED) for i, text in enumerate(LINE)),
        threads(run, left, top, token, row),
        f'<path stroke="{INK}" stroke-width="4" d="M{right + 6} {top - 14}V{HEIGHT - 146}"/>',
        outline("the budget", right + 8, top - 26, 28, fill=INK, end=True),
        outline(f"{counted}: a run of this book's scheduler", left, foot, 28, fill=MUTED),
    ]
    return _sheet(WIDTH, HEIGHT, "".join(body), _alt(run))


def banner_svg() -> str:
    """The same run, its first steps, lying: 1280 by 640, for previews of a link."""
    run = crowd(num_steps=46)
    token, row = 9.2, 11.6
    body = [
        threads(run, 640, 54, token, row),
        f'<path stroke="{INK}" stroke-width="2.5" d="M{640 + 64 * token + 3:.1f} 46V586"/>',
        f'<g transform="translate(72 84) scale(2.6)">{shapes(_MARK)}</g>',
        outline(TITLE[0], 68, 292, 102, fill=INK, weight="SemiBold", tracking=-0.022),
        outline(TITLE[1], 70, 392, 102, fill=INK, weight="SemiBold", tracking=-0.022),
        *(outline(text, 72, 456 + 36 * i, 26, fill=MUTED) for i, text in enumerate(LINE)),
    ]
    return _sheet(1280, 640, "".join(body), _alt(run))


def main() -> None:
    """Write the cover, or the banner, to the file that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", type=Path)
    parser.add_argument("--banner", action="store_true", help="the lying picture, for previews")
    options = parser.parse_args()
    drawn = banner_svg() if options.banner else cover_svg()
    options.target.write_text(drawn, encoding="utf-8")
    print(f"wrote {options.target}")


if __name__ == "__main__":
    main()
