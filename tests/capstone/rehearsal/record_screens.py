"""Walk through the rehearsal and keep what the terminal shows, for the page.

`nox -s rehearsal_screens` writes `labs/capstone/rehearsal/screens/`: a file a screen, each with its
commands, and the counters of every step, before and after. `test_workflow.py` compares them with
what the tools print today.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from unittest import mock

from capstone.cli import main as capstone
from capstone.rehearsal import command, reproduction, sandbox, steps
from capstone.rehearsal.inside import variants
from capstone.rehearsal.workshop import ROOT, Workshop

from upstream_anchors.pin import the_pin
from upstream_anchors.tree import need_tree

sys.path.insert(0, str(Path(__file__).parent))
import scripted

SCREENS = ROOT / "labs" / "capstone" / "rehearsal" / "screens"
FOLDER = ".labs/capstone/rehearsal"


def shown(*commands: str) -> str:
    """Each command as one types it, and what it prints."""
    lines = []
    for line in commands:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            capstone(line.split()[1:])
        lines += [f"$ {line}", *said.getvalue().rstrip().splitlines(), ""]
    return "\n".join(lines)


def walk(shop: Workshop) -> dict[str, str]:
    """Name of a screen → the screen; a learner who is wrong once in most steps."""
    screens = {"start": shown("capstone rehearse start", "capstone rehearse status")}
    check = "capstone rehearse check"
    scripted.write(shop, "reproduce.py")
    screens["reproduce"] = shown(f"{check} reproduce")
    scripted.write(shop, "MAP.md")
    scripted.write(shop, "answers.toml")
    screens["triage"] = shown(f"{check} triage")
    screens["august"] = shown(
        f"capstone triage {FOLDER}/report.json --prs {FOLDER}/pulls-august.json "
        f"--map {FOLDER}/MAP.md --answers {FOLDER}/answers.toml --today 2026-08-10"
    )
    scripted.write(shop, "plan.md", lambda text: re.sub("- LoRA: .*", "- LoRA: none", text))
    screens["plan"] = shown(f"{check} plan")
    scripted.write(shop, "plan.md")
    screens["plan"] += "\n" + shown(f"{check} plan")
    scripted.add_test(shop, lambda text: text[: text.index("    assert request.status")])
    screens["test"] = shown(f"{check} test")
    scripted.add_test(shop)
    screens["test"] += "\n" + shown(f"{check} test")
    screens["baseline"] = shown(f"{check} baseline")
    scripted.repair(shop, variants.BREAKING["the gate last"][0])
    screens["merged-order"] = shown(f"{check} fix")
    scripted.repair_by_hand(shop)
    screens["fix"] = shown(f"{check} fix", f"{check} after")
    scripted.commit(shop)
    scripted.describe(shop)
    screens["describe"] = shown(f"{check} describe")
    scripted.commit(shop, "--amend", "-s")
    screens["describe"] += "\n" + shown(f"{check} describe", "capstone rehearse status")
    screens["compare"] = shown("capstone rehearse compare")
    screens["second"] = shown("capstone rehearse second")
    return screens


def counters(shop: Workshop) -> dict[str, object]:
    """Both counters of the request in each step, on the pin and on the learner's tree."""
    trees = {"pin": str(need_tree(the_pin()).root), "yours": str(shop.tree)}
    found: dict[str, object] = {"command": "capstone rehearse check reproduce | after"}
    for name, tree in trees.items():
        rows = reproduction.watch(shop, tree).found["rows"]
        keys = ("step", "num_tokens", "num_computed_tokens", "given", "max_model_len")
        found[name] = [{key: row[key] for key in keys} for row in rows]
    return found


def main() -> None:
    SCREENS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rehearsal-screens-") as scratch:
        root = Path(scratch).resolve()
        (root / ".labs" / "capstone").mkdir(parents=True)
        for shared in (".nox", ".labs/capstone/rehearsal-cache"):
            if (ROOT / shared).exists():
                (root / shared).symlink_to(ROOT / shared)
        shop = Workshop(root / FOLDER, root)
        os.chdir(root)
        with (
            mock.patch.object(command.Workshop, "of", return_value=shop),
            mock.patch("capstone.triage.command.record_folder", return_value=root / ".labs"),
        ):
            screens = walk(shop)
        for name, text in screens.items():
            kept = text.replace(f"{root}/", "").rstrip() + "\n"
            (SCREENS / f"{name}.txt").write_text(kept, encoding="utf-8")
        compared = next(e for e in shop.journal.read() if e.get("event") == "compare")
        data = {"counters": counters(shop), "answers": compared["answers"]}
        for name, content in data.items():
            kept = json.dumps(content, separators=(",", ":"))
            (SCREENS / f"{name}.json").write_text(kept + "\n", encoding="utf-8")
        assert set(steps.passed(shop)) == set(steps.BY_NAME)
        sandbox.verify(shop)


if __name__ == "__main__":
    main()
