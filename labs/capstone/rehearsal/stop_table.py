r"""What an implementation answers to the rows of the contract."""

from __future__ import annotations

from capstone.errors import CapstoneError
from capstone.rehearsal.worker import work
from capstone.rehearsal.workshop import Workshop

LIMIT = 180.0


def table(workshop: Workshop, vllm: str, version: str) -> dict[str, str]:
    r"""Row id → the answer of one tree; {py:class}`.CapstoneError` if it cannot be asked."""
    outcome = work(workshop, "table.py", vllm, version, limit=LIMIT)
    if not (answers := outcome.found.get("answers")):
        raise CapstoneError(f"{vllm}: check_stop could not be asked: {outcome.last_line()}")
    return {str(row): str(answer) for row, answer in answers.items()}
