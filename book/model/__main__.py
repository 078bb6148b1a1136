r"""The book's model from nothing: corpus, tokenizer, both runs, figures, samples.

    python -m book.model

Each part is also a command of its own; this one runs them as a reader would, each in a fresh
process, so that what it costs is what the part costs.
"""

from __future__ import annotations

import subprocess
import sys

PARTS = (
    ("book.model.train", "target"),
    ("book.model.train", "draft"),
    ("book.model.evaluate",),
    ("book.model.samples",),
)


def main() -> None:
    r"""Run every part; arguments go to both training runs."""
    for module, *arguments in PARTS:
        extra = sys.argv[1:] if module.endswith("train") else []
        subprocess.run([sys.executable, "-m", module, *arguments, *extra], check=True)


if __name__ == "__main__":
    main()
