r"""The mark of the book: a run of three steps that the engine really makes.

Two requests under a budget of three tokens. In the first step a prompt fills the budget. In the
second that request continues by one token, and the other's prompt gets what is left. In the third
both continue, and there is room. So the mark holds the idea that the first four phases unfold: one
budget, no phases, and steps that prompts and answers share. {py:func}`run` asks the engine for it,
and a test holds the drawing to the answer.

```sh
python -m book.drawings.mark   # writes book/_static/favicon.svg
```

Everything lies on a grid of 32 whose lines are even, so that the 16 pixels of a browser's tab show
whole pixels. The header's copy takes its line from `currentColor` and its two colours from the
page's variables; the favicon carries both themes in itself.
"""

from __future__ import annotations

from pathlib import Path

from book.palette import palette
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.observe.probe import Probe
from mini_vllm.sampling_params import SamplingParams

BUDGET = 3
SIDE = 32
FAVICON = Path(__file__).resolve().parents[1] / "_static" / "favicon.svg"

#: Steps, bottom up: which request got how many tokens. What {py:func}`run` returns.
STEPS = ((("A", 3),), (("A", 1), ("B", 2)), (("A", 1), ("B", 1)))

_COLUMN, _TOKEN, _GAP = 8, 6, 2
_TOP, _BOTTOM, _LEFT = 8, 30, 2
_CLASSES = {"A": "first", "B": "second"}
_LIGHT = {"line": palette.ink, "first": palette.blue, "second": palette.orange}
_DARK = {"line": "#dcdfe4", "first": "#74aeee", "second": "#ee9a5b"}


def run() -> tuple[tuple[tuple[str, int], ...], ...]:
    """The engine's first three steps with these two requests, as {py:data}`STEPS` has them."""
    engine = LLMEngine.from_scripted(
        default=[1] * 8, max_num_batched_tokens=BUDGET, max_num_seqs=2, max_model_len=16
    )
    with Probe(engine) as probe:
        for name, length in (("A", 3), ("B", 2)):
            prompt = {"prompt_token_ids": [1] * length}
            engine.add_request(name, prompt, SamplingParams(max_tokens=4, ignore_eos=True))
        for _ in STEPS:
            engine.step()
        return tuple(
            tuple(
                (name, row.num_scheduled_tokens)
                for name, row in record.requests.items()
                if row.num_scheduled_tokens
            )
            for record in probe.records
        )


def shapes(fill: dict[str, str] | None = None) -> str:
    """The line and the pieces, with a class each, or with the colours of `fill`."""

    def rect(kind: str, x: int, y: int, width: int, height: int, radius: float) -> str:
        paint = f'fill="{fill[kind]}"' if fill else f'class="mark-{kind}"'
        return f'<rect {paint} x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>'

    parts = [rect("line", _LEFT, 2, 3 * _COLUMN + 2 * _GAP, 3, 0)]
    for column, pieces in enumerate(STEPS):
        x, bottom = _LEFT + column * (_COLUMN + _GAP), _BOTTOM
        for name, tokens in pieces:
            height = tokens * _TOKEN + (tokens - 1) * _GAP
            parts.append(rect(_CLASSES[name], x, bottom - height, _COLUMN, height, 1))
            bottom -= height + _GAP
    return "".join(parts)


def favicon_svg() -> str:
    """The mark for a browser's tab, in the colours of whichever theme the browser has."""

    def rules(colours: dict[str, str]) -> str:
        return "".join(f".mark-{kind}{{fill:{colour}}}" for kind, colour in colours.items())

    style = f"{rules(_LIGHT)}@media(prefers-color-scheme:dark){{{rules(_DARK)}}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">'
        f"<style>{style}</style>{shapes()}</svg>\n"
    )


def header_svg() -> str:
    """The mark for a page: its line is `currentColor`, `css/home.css` colours the pieces."""
    return (
        f'<svg class="book-mark" viewBox="0 0 {SIDE} {SIDE}" aria-hidden="true" focusable="false">'
        f"{shapes()}</svg>"
    )


if __name__ == "__main__":
    FAVICON.write_text(favicon_svg(), encoding="utf-8")
    print(f"wrote {FAVICON}")
