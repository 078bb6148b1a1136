r"""What does a learner get who is stuck?

Three hints a task, one at a time, each costing more of the discovery than the one before: where to
look, what has to hold there, and last how it is done, in words. They stand in `hints.toml`:

```toml
[task-1]
where = "Which two counters does a row carry?"
what = "A row may sample when they will be equal at the end of this step."
how = "Add what this step computes to what was computed, and compare with the total."
```

No hint is a line of the solution: `python -m labkit verify` refuses one that quotes it.
"""

from __future__ import annotations

import tomllib

from labkit.catalogue import Lab, LabError

GRADES = ("where", "what", "how")


def of(lab: Lab, task: int) -> tuple[str, ...]:
    r"""A task's three hints, mildest first.

    Raises {py:class}`labkit.catalogue.LabError` for a task that the lab does not have, and when
    the file lacks one of the three.
    """
    if not 1 <= task <= len(lab.tasks):
        raise LabError(f"{lab.name} has the tasks 1 to {len(lab.tasks)}, not {task}")
    source = lab.folder / "hints.toml"
    table = tomllib.loads(source.read_text(encoding="utf-8")) if source.exists() else {}
    hints = tuple(table.get(f"task-{task}", {}).get(grade, "").strip() for grade in GRADES)
    if not all(hints):
        raise LabError(f"{source}: task {task} lacks one of {', '.join(GRADES)}")
    return hints
