r"""Which part of the book uses which anchor, as it was when the records were made.

The page about drift must not change because some other page gained a sentence, so this is written
together with the records and read from the file: one anchor a line, with the sections that use it.
"""

from __future__ import annotations

import json
from pathlib import Path

from upstream_anchors.drift.touched import Touched

USERS_FILE = Path(__file__).with_name("users.json")


def write_users(touched: dict[str, list[Touched]], path: Path = USERS_FILE) -> Path:
    r"""Write the sections of every anchor, sorted."""
    lines = [
        f"{json.dumps(target, ensure_ascii=False)}: "
        f"{json.dumps(sorted({user.section for user in users}))}"
        for target, users in sorted(touched.items())
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return path


def read_users(path: Path = USERS_FILE) -> dict[str, list[str]]:
    r"""Target → sections, such as `phase-02` and `reference`."""
    return json.loads(path.read_text(encoding="utf-8"))
