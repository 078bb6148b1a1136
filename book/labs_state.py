r"""What has the `labs` command graded, as the pages of the book read it?

`nox -s book` serves this to the page, which shows a lab that the command has graded as done. Read
only: nothing below `.labs/` is made, mended or deleted here, and nothing damaged raises. The answer
says instead, in `state`, what it is worth:

- `none`: the learner has run nothing yet;
- `ok`: every lab below is what the command last saw;
- `damaged`: something could not be read, and `problem` says what. What could be read is there.

```json
{"version": 1, "state": "ok", "problem": "",
 "labs": {"phase-01/lab-03": {"tasks": [1, 2], "done": 2, "total": 3,
                              "finished": false, "since": "2026-03-01T19:30:05"}}}
```

A lab counts as finished when the command has recorded it as complete, which it takes back when a
test fails again: all tasks green is not enough, since a lab may have tests that belong to no task.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from labkit.catalogue import Catalogue, Lab, LabError

VERSION = 1


def labs_state(root: Path) -> dict[str, Any]:
    """Every lab of the catalogue under `root`, with what the command has recorded of it."""
    problems: list[str] = []
    try:
        labs = Catalogue(root).labs
    except (LabError, OSError, UnicodeDecodeError) as error:
        labs = []
        problems.append(f"the list of labs: {error}")
    kept = _kept(root / ".labs" / "progress.json", problems)
    state = {lab.short: _lab(lab, (kept or {}).get(lab.short, {}), problems) for lab in labs}
    verdict = "damaged" if problems else "none" if kept is None else "ok"
    return {"version": VERSION, "state": verdict, "problem": "; ".join(problems), "labs": state}


def _kept(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """The file as it stands; `None` when there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path.name}: {error}")
        return {}
    if not isinstance(data, dict):
        problems.append(f"{path.name} holds a {type(data).__name__}, not labs")
        return {}
    return data


def _lab(lab: Lab, record: object, problems: list[str]) -> dict[str, Any]:
    total = len(lab.tasks)
    if not isinstance(record, dict):
        problems.append(f"{lab.short} is recorded as {record!r}")
        record = {}
    numbers = [int(key) for key in record if key.isascii() and key.isdigit()]
    tasks = sorted(n for n in numbers if 1 <= n <= total)
    if len(tasks) < len(numbers):
        problems.append(f"{lab.short} has {total} tasks; recorded are {sorted(numbers)}")
    since = _moment(lab, record, problems)
    finished = "complete" in record
    done = total if finished else len(tasks)
    return {"tasks": tasks, "done": done, "total": total, "finished": finished, "since": since}


def _moment(lab: Lab, record: dict[str, Any], problems: list[str]) -> str | None:
    """When the lab was completed, else when its last task turned green."""
    keys = ["complete"] if "complete" in record else [key for key in record if key.isdigit()]
    moments = []
    for value in (record[key] for key in keys):
        try:
            moments.append(datetime.strptime(value, "%Y-%m-%d-%H%M%S"))
        except (TypeError, ValueError):
            problems.append(f"{lab.short}: {value!r} is no time")
    return max(moments).isoformat() if moments else None
