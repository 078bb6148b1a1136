r"""From a kernel's PTX to the few lines that a page shows.

Triton's PTX of a small kernel is some hundred lines, most of which compute addresses. A page asks
for the lines that match a pattern, and gets them with their neighbours; what is left out is an
ellipsis. Where a line came from in the source, and what the assembler is told about debugging, is
taken out first: it holds paths of the machine that compiled, and two builds shall be equal to the
byte.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from book import specimens

ELLIPSIS = "…"
_BODY = re.compile(r"^\s*\{\s*$")
_NOISE = re.compile(r"^\s*(\.loc\b|\.file\b|\.section\b|//|\$L__(tmp|func)\w*:|$)")


class PtxError(ValueError):
    """A specimen or a pattern that is not there."""


@dataclass(frozen=True)
class Code:
    """A compiled specimen, as its file holds it."""

    kernel: str
    shape: str
    grid: Sequence[int]
    capability: int
    registers: int
    stack_bytes: int
    shared_bytes: int
    threads: int
    triton_version: str
    lines: Sequence[str]

    def caption(self) -> str:
        """What it is and what it takes; Markdown."""
        programs = " x ".join(f"{n:,}" for n in self.grid)
        plural = "program" if programs == "1" else "programs"
        spilled = f", {self.stack_bytes:,} B of stack" if self.stack_bytes else ""
        return (
            f"`{self.kernel}`, {self.shape}: {programs} {plural} of {self.threads} threads, "
            f"{self.registers} registers each{spilled}, {self.shared_bytes:,} B shared. "
            f"Compiled for sm_{self.capability} by Triton {self.triton_version}, not run."
        )


@dataclass(frozen=True)
class Excerpt:
    """The text to show, which of its lines are hits (from 1), and how many there are in all."""

    text: str
    hits: tuple[int, ...]
    found: int


def instructions(ptx: str) -> list[str]:
    """The body of the kernel, without comments, places in the source and what debuggers need."""
    lines = ptx.splitlines()
    start = next((n for n, line in enumerate(lines) if _BODY.match(line)), None)
    if start is None:
        raise PtxError("no body in the PTX")
    body = []
    for line in lines[start + 1 :]:
        if line.startswith("}"):
            break
        line = re.sub(r"\s*//.*", "", line)
        if not _NOISE.match(line):
            body.append(line.strip().expandtabs(1))
    return body


def excerpt(
    lines: Sequence[str], patterns: Sequence[str], *, around: int = 1, most: int = 2
) -> Excerpt:
    r"""The first `most` lines that match each pattern, each with `around` neighbours.

    Raises {py:class}`PtxError` for a pattern that matches nothing: a page would then promise what
    the compiler did not do.
    """
    chosen: set[int] = set()
    found = 0
    for pattern in patterns:
        matching = [n for n, line in enumerate(lines) if re.search(pattern, line)]
        if not matching:
            raise PtxError(f"no line matches {pattern!r}")
        found += len(matching)
        chosen.update(matching[:most])
    shown: list[str] = []
    hits: list[int] = []
    last = -1
    for n in range(len(lines)):
        if not any(abs(n - hit) <= around for hit in chosen):
            continue
        if n != last + 1:
            shown.append(ELLIPSIS)
        shown.append(lines[n])
        if n in chosen:
            hits.append(len(shown))
        last = n
    if last != len(lines) - 1:
        shown.append(ELLIPSIS)
    return Excerpt("\n".join(shown), tuple(hits), found)


def compiled(name: str, capability: int, folder: Path) -> Code | None:
    r"""A specimen's code, from `folder` or compiled into it; None where Triton is not installed.

    Compiles in a process of its own, since Triton may be imported only once and in one mode. Raises
    {py:class}`PtxError` for a name that no specimen has, and for a compiler that fails.
    """
    if name not in specimens.SPECIMENS or capability not in specimens.CAPABILITIES:
        raise PtxError(
            f"no specimen {name!r} for sm_{capability}; there are "
            f"{', '.join(specimens.SPECIMENS)} for {specimens.CAPABILITIES}"
        )
    try:
        version = metadata.version("triton")
    except metadata.PackageNotFoundError:
        return None
    path = folder / specimens.file_name(name, capability, version)
    if not path.exists():
        environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
        command = [sys.executable, "-m", "book.specimens", str(folder)]
        done = subprocess.run(
            command,
            cwd=specimens.ROOT,
            env=environment | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not path.exists():
            raise PtxError(f"{name}: the compiler failed: {done.stderr.strip()[-800:]}")
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Code(**stored)
