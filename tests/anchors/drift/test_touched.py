"""Which pages a module's anchors count for."""

from __future__ import annotations

from pathlib import Path

import pytest

from upstream_anchors.drift.touched import touched_by
from upstream_anchors.pin import Pin

PAGES = {
    "book/phase-02-blocks/01-deep-dive.md": "```{object} mini_vllm.core.pool.Pool\n```\n{up}`a.py`",
    "book/reference/engine.md": "```{remaining-objects} mini_vllm\n```\n",
    "book/reference/engine-model.md": "```{remaining-objects} mini_vllm.models\n```\n",
    "mini_vllm/core/__init__.py": '"""{up}`b.py`"""',
    "mini_vllm/core/pool.py": '"""{up}`c.py`"""',
    "mini_vllm/models/__init__.py": '"""{up}`d.py`"""',
    "mini_vllm/models/deep/decoder.py": '"""{up}`e.py`"""',
    "labs/phase-02-blocks/lab-01-pool/README.md": "{up}`f.py`",
}


@pytest.mark.parametrize(
    ("target", "section", "place"),
    [
        ("a.py", "phase-02", "book/phase-02-blocks/01-deep-dive.md"),
        ("b.py", "reference", "book/reference/engine.md"),
        ("c.py", "phase-02", "book/phase-02-blocks/01-deep-dive.md"),
        ("d.py", "reference", "book/reference/engine-model.md"),
        ("e.py", "reference", "book/reference/engine-model.md"),
        ("f.py", "phase-02", "labs/phase-02-blocks/lab-01-pool"),
    ],
)
def test_an_anchor_counts_where_its_text_is_printed(
    tmp_path: Path, pin: Pin, target: str, section: str, place: str
) -> None:
    for name, text in PAGES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = touched_by(pin, tmp_path)[target]
    assert [(touched.section, touched.name) for touched in found] == [(section, place)]
