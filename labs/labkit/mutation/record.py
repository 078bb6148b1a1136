r"""How does one know that a mutant run is still true?

The outcome is committed as `mutants/result.json` with a hash of everything that it depends on
({py:mod}`labkit.mutation.fingerprint`): the solution, the tests, the hand-written mistakes, the
proofs, the operators themselves, and what the tests import from this package. A record whose
hashes differ is stale and is computed again.

A record that is fresh is not believed either. Each commit re-runs a sample of its mutants, drawn by
the commit's own id, so that over time all of them are tried again on other machines.
"""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

from labkit.catalogue import Lab
from labkit.mutation import fingerprint
from labkit.mutation.trial import EXCUSED, KILL_RATE, Outcome

NAME = "result.json"


def read(lab: Lab) -> dict[str, Any] | None:
    r"""The committed record, or `None` when there is none."""
    path = lab.folder / "mutants" / NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def is_fresh(lab: Lab) -> bool:
    r"""Whether the committed record was computed from the files as they are."""
    recorded = read(lab)
    return recorded is not None and recorded["hashes"] == fingerprint.of(lab)


def write(lab: Lab, outcome: Outcome) -> None:
    r"""Write the record of a full run."""
    killed = sum(killer is not None for killer in outcome.generic.values())
    data = {
        "command": "python -m labkit mutants --write",
        "hashes": fingerprint.of(lab),
        "generic": {
            "made": len(outcome.generic),
            "killed": killed,
            "equivalent": len(outcome.proofs),
            "survived": len(outcome.survivors),
        },
        "plausible": outcome.plausible,
        "killed by": {id: killer for id, killer in outcome.generic.items() if killer},
        "survivors": outcome.survivors,
    }
    path = lab.folder / "mutants" / NAME
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def problems(lab: Lab) -> list[str]:
    r"""Where the committed record itself says that the bar is missed."""
    recorded = read(lab)
    if recorded is None:
        return ["no record of its mutants: python -m labkit mutants --write"]
    generic = recorded["generic"]
    judged = generic["made"] - generic["equivalent"]
    found = [
        f"plausible mistake survives: {id}" for id, t in recorded["plausible"].items() if not t
    ]
    if generic["killed"] < KILL_RATE * judged:
        found.append(f"{generic['killed']} of {judged} generic mutants die")
    if generic["equivalent"] > EXCUSED * generic["made"]:
        found.append(f"{generic['equivalent']} of {generic['made']} mutants are set aside")
    return found


def draw(lab: Lab, count: int) -> list[str]:
    r"""Names of recorded mutants to try again, drawn by the commit's id: another commit, others."""
    recorded = read(lab) or {}
    names = [*recorded.get("killed by", {}), *recorded.get("plausible", {})]
    seed = f"{_commit(lab.root)} {lab.short}"
    return random.Random(seed).sample(names, min(count, len(names)))


def _commit(root: Path) -> str:
    try:
        run = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True
        )
    except FileNotFoundError:
        return "no git"
    return run.stdout.strip() or "no commit"
