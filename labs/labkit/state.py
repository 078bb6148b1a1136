r"""What does the learner's copy remember?

Everything below `.labs/` in the repository, which git ignores: `progress.json`,
`predictions.json`, the hints taken, copies of starters before a reset, and
`notebook.md`, which is the learner's to edit. The tools only ever append to it.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any


class State:
    r"""The learner's record, kept in files under `root/.labs/`.

    Nothing is created before there is something to keep. Labs go by their short name,
    `phase-01/lab-03`.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / ".labs"

    @property
    def notebook(self) -> Path:
        r"""The lab notebook: Markdown, dated, appended to by the tools and edited by its owner."""
        return self.folder / "notebook.md"

    def prediction(self, lab: str, id: str) -> str | None:
        r"""What the learner predicted, or `None`."""
        return self._read("predictions").get(lab, {}).get(id)

    def predict(self, lab: str, id: str, question: str, answer: str) -> None:
        r"""Keep a prediction, and write it into the notebook with its question."""
        self._update("predictions", lab, {id: answer})
        self.note(f"{lab}: predicted `{id}`", f"> {question}\n\nMy answer: **{answer}**")

    def green(self, lab: str) -> list[int]:
        r"""The tasks whose tests all passed when the lab was last graded."""
        return sorted(int(key) for key in self._read("progress").get(lab, {}) if key.isdigit())

    def graded(self, lab: str, green: list[int], *, complete: bool) -> None:
        r"""Record the tasks that are green now, each with the time since when.

        What was green and is not any more is taken back, and so is a lab's completion; that it was
        complete once is kept, for the notebook.
        """
        data = self._read("progress")
        before = data.get(lab, {})
        now: dict[str, str] = {str(task): before.get(str(task), _now()) for task in green}
        if once := before.get("complete", before.get("once")):
            now["complete" if complete else "once"] = once
        if now != before:
            self._write("progress", data | {lab: now})

    def is_complete(self, lab: str) -> bool:
        r"""Whether every test of the lab passed when it was last graded."""
        return "complete" in self._read("progress").get(lab, {})

    def completed(self, lab: str, title: str) -> bool:
        r"""Record that a lab is complete, and say so in the notebook; false if it was known."""
        if self.is_complete(lab):
            return False
        self._update("progress", lab, {"complete": _now()})
        hints = sum(self._read("hints").get(lab, {}).values())
        self.note(f"{lab}: complete", f"{title}. Hints taken: {hints}.\n\nWhat surprised me:")
        return True

    def hints(self, lab: str, task: int) -> int:
        r"""How many hints of a task have been shown."""
        return self._read("hints").get(lab, {}).get(str(task), 0)

    def hinted(self, lab: str, task: int, count: int) -> None:
        r"""Remember that `count` hints of a task have been shown."""
        self._update("hints", lab, {str(task): count})

    def forget(self, lab: str) -> None:
        r"""Drop a lab's progress and hints. Predictions and the notebook stay."""
        for name in ("progress", "hints"):
            data = self._read(name)
            if data.pop(lab, None) is not None:
                self._write(name, data)

    def keep_copy(self, lab: str, source: str) -> Path:
        r"""Put a file's text aside before it is overwritten; returns where."""
        copy = self.folder / "before-reset" / f"{lab.replace('/', '-')}-{_now()}.py"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source, encoding="utf-8")
        return copy

    def note(self, heading: str, text: str) -> None:
        r"""Append a dated entry to the notebook."""
        self.folder.mkdir(exist_ok=True)
        if not self.notebook.exists():
            self.notebook.write_text("# Lab notebook\n", encoding="utf-8")
        with self.notebook.open("a", encoding="utf-8") as notebook:
            notebook.write(f"\n## {_now()} · {heading}\n\n{text}\n")

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def _write(self, name: str, data: dict[str, Any]) -> None:
        self.folder.mkdir(exist_ok=True)
        text = json.dumps(data, indent=2, ensure_ascii=False)
        (self.folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")

    def _update(self, name: str, lab: str, values: dict[str, Any]) -> None:
        data = self._read(name)
        data.setdefault(lab, {}).update(values)
        self._write(name, data)


def _now() -> str:
    return datetime.now().strftime("%Y-%m-%d-%H%M%S")
