r"""Which mistakes would a reader really make?

They stand in a lab's `mutants/plausible.toml`, each with the sentence that the reader would say:

```toml
[[mistake]]
slug = "samples-every-row"
because = "Every row has logits, so every row gets a token."
find = "if may_sample:"
replace = "if True:"
```

`find` is text of the solution that occurs there once (leading blanks aside; it may span lines) and
`replace` takes its place at the same indentation. Text and not line numbers, so that an edit of the
solution elsewhere leaves the mistake intact, and one that touches it is refused.
"""

from __future__ import annotations

import textwrap
import tomllib
from dataclasses import dataclass

from labkit import regions
from labkit.catalogue import Lab, LabError
from labkit.mutation.operators import Mutant


@dataclass(frozen=True)
class Mistake:
    r"""One hand-written mutant, before it is applied."""

    slug: str
    because: str
    find: str
    replace: str


def read(lab: Lab) -> list[Mistake]:
    r"""The mistakes of a lab, in the order of the file; an empty list when there is no file."""
    source = lab.folder / "mutants" / "plausible.toml"
    if not source.exists():
        return []
    try:
        tables = tomllib.loads(source.read_text(encoding="utf-8")).get("mistake", [])
        return [Mistake(**table) for table in tables]
    except (TypeError, tomllib.TOMLDecodeError) as error:
        raise LabError(f"{source}: {error}") from None


def mutants(lab: Lab) -> list[Mutant]:
    r"""The mistakes, each applied to the solution.

    Raises {py:class}`labkit.catalogue.LabError` for one whose text is not found exactly once,
    lies outside the marked regions, or leaves code that does not compile.
    """
    return [_apply(lab, mistake) for mistake in read(lab)]


def _apply(lab: Lab, mistake: Mistake) -> Mutant:
    lines = lab.solution.read_text(encoding="utf-8").splitlines()
    wanted = [line.strip() for line in mistake.find.strip().splitlines()]
    stripped = [line.strip() for line in lines]
    places = [
        start
        for start in range(len(lines))
        if wanted[0] in stripped[start] and _matches(stripped[start:], wanted)
    ]
    where = f"{lab.name}, mistake {mistake.slug!r}"
    if len(places) != 1:
        raise LabError(f"{where}: {mistake.find!r} occurs {len(places)} times in solution.py")
    [start] = places
    source = "\n".join(lines)
    region = next((r for r in regions.parse(source) if r.covers(start + 1)), None)
    if region is None:
        raise LabError(f"{where}: line {start + 1} is in no marked region")
    if stripped[start : start + len(wanted)] != wanted:
        lines[start] = lines[start].replace(wanted[0], mistake.replace.strip(), 1)
    else:
        pad = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
        text = textwrap.indent(textwrap.dedent(mistake.replace.strip("\n")), pad)
        lines[start : start + len(wanted)] = text.splitlines()
    try:
        code = compile("\n".join(lines), f"<{mistake.slug}>", "exec")
    except SyntaxError as error:
        raise LabError(f"{where}: the mutant does not compile: {error}") from None
    return Mutant(mistake.slug, region.task, code)


def _matches(lines: list[str], wanted: list[str]) -> bool:
    """One wanted line may be part of a line; several must be whole lines."""
    return len(wanted) == 1 or lines[: len(wanted)] == wanted
