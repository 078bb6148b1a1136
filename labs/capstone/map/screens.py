r"""The screens on the capstone's page, taken from the running command.

`python -m capstone.map.screens` makes a map in a folder of its own, fills in two sentences, one
of which speaks of a file that is gone, and keeps what the command printed. A test compares the
files with what it prints now. The learner in them takes four minutes for a file: the map is given
that date.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from upstream_anchors.codebase_map import PLACEHOLDER

from capstone.map import command
from capstone.records import Journal

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "book" / "inference-internals" / "screens"
MINUTES = 4
#: What the learner of the screens has written so far.
SENTENCES = {
    "vllm/engine/arg_utils.py": (
        "Turns flags and keywords into one `VllmConfig`, and is where a default is decided."
    ),
    "vllm/v1/core/block_pool.py": (
        "Counts who holds a block and finds one by name, as `vllm/core/block_manager.py` once did."
    ),
}


def screens() -> dict[str, str]:
    r"""Each file of the folder, with what stands in it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        journal = Journal(Path("map.jsonl"))
        start = _run("new", journal) + _run("next", journal)
        _write(SENTENCES)
        later = _run("next", journal) + _run("left", journal)
        checked = _run("check", journal).splitlines(keepends=True)
    blanks = [line for line in checked if "placeholder" in line]
    said = [line for line in checked if "placeholder" not in line]
    # The command, the first blanks, then all that is no blank.
    shown = [said[0], *blanks[:2], f"… {len(blanks) - 2} more of these\n", *said[1:]]
    return {"map-new.txt": start, "map-left.txt": later, "map-check.txt": "".join(shown)}


def _run(action: str, journal: Journal) -> str:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    out = io.StringIO()
    console = Console(file=out, markup=False, highlight=False, soft_wrap=True)
    command.act(parser.parse_args([action]), console, journal)
    return f"$ capstone map {action}\n{out.getvalue()}"


def _write(sentences: dict[str, str]) -> None:
    file = Path("MAP.md")
    text = file.read_text(encoding="utf-8")
    for path, sentence in sentences.items():
        head = f"### `{path}`\n\nRole: "
        text = text.replace(head + PLACEHOLDER, head + sentence)
    file.write_text(text, encoding="utf-8")
    saved = file.stat().st_mtime + 60 * MINUTES
    os.utime(file, (saved, saved))


def main() -> int:
    r"""Take the screens anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in screens().items():
        path = FOLDER / name
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
