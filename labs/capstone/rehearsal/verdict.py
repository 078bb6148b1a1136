r"""What a step's check found: complaints, what was measured, and what the result belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Verdict:
    r"""The result of one check. It passes when there is no complaint.

    `of` is the digest of what was checked: when that changes, the result is old. `evidence` goes
    into the journal, `lines` to the terminal.
    """

    of: str
    complaints: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.complaints

    def complain(self, text: str) -> None:
        r"""One thing that is wrong, in words that say what would be right."""
        self.complaints.append(text)
