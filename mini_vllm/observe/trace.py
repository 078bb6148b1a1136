r"""What did the engine do, as a table that one can read?

A trace is a list of {py:class}`step records <mini_vllm.observe.probe.StepRecord>` with three
views. {py:meth}`Trace.table` has a line per step and request, for reading.
{py:meth}`Trace.batches` has a row per step and a column per request, for drawing: the picture of
continuous batching is that matrix. {py:meth}`Trace.to_json` is for keeping; times are left out of
it unless asked for, so that two runs give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mini_vllm.observe.probe import RequestRecord, StepRecord

#: The columns of {py:meth}`Trace.table`: heading, and how to read it from a record.
DEFAULT_COLUMNS = (
    "step",
    "request",
    "status",
    "scheduled",
    "computed",
    "tokens",
    "blocks",
    "sampled",
    "note",
)


class Trace:
    """Step records, and ways to look at them. Does not copy and does not change them."""

    def __init__(self, records: Sequence[StepRecord]) -> None:
        self.records = list(records)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def req_ids(self) -> list[str]:
        """Every request that was seen, in the order of first appearance."""
        return list(dict.fromkeys(req_id for step in self.records for req_id in step.requests))

    def of_request(self, req_id: str) -> list[tuple[int, RequestRecord]]:
        """The steps in which a request was in the engine: pairs of step index and its record."""
        return [
            (step.index, step.requests[req_id]) for step in self.records if req_id in step.requests
        ]

    def counters(self, req_id: str) -> list[tuple[int, int, int]]:
        """The two counters of a request after each step: `(step, computed, tokens)`."""
        return [
            (index, row.num_computed_tokens, row.num_tokens)
            for index, row in self.of_request(req_id)
        ]

    def batches(self) -> list[list[int]]:
        """Scheduled tokens, `[num_steps][num_requests]`, columns in the order of `req_ids`."""
        return [
            [
                step.requests[req_id].num_scheduled_tokens if req_id in step.requests else 0
                for req_id in self.req_ids
            ]
            for step in self.records
        ]

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary per step and request; its keys are {py:data}`DEFAULT_COLUMNS`."""
        return [
            {
                "step": step.index,
                "request": row.req_id,
                "status": row.status,
                "scheduled": row.num_scheduled_tokens,
                "computed": row.num_computed_tokens,
                "tokens": row.num_tokens,
                "blocks": len(row.block_ids),
                "sampled": " ".join(map(str, row.sampled_token_ids)),
                "note": _note(row),
            }
            for step in self.records
            for row in step.requests.values()
        ]

    def table(self, columns: Sequence[str] = DEFAULT_COLUMNS) -> str:
        """Lay the rows out as aligned text, with a heading; numbers to the right."""
        rows = self.rows()
        cells = [[str(row[column]) for column in columns] for row in rows]
        widths = [
            max(len(column), *(len(line[i]) for line in cells)) if cells else len(column)
            for i, column in enumerate(columns)
        ]
        numeric = [bool(rows) and isinstance(rows[0][column], int) for column in columns]
        lines = [list(columns), ["-" * width for width in widths], *cells]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            ).rstrip()
            for line in lines
        )

    def to_json(self, *, times: bool = False, indent: int | None = None) -> str:
        """Everything that was recorded; the times too, if asked.

        A bare list of steps. To keep a trace, and to read it again, see
        {py:mod}`mini_vllm.observe.trace_file`.
        """
        steps = [asdict(step) for step in self.records]
        if not times:
            for step in steps:
                del step["seconds"], step["spans"]
        return json.dumps(steps, indent=indent)


def _note(row: RequestRecord) -> str:
    """What happened to the request in words, where it is not plain from the numbers."""
    notes = []
    if row.preempted:
        notes.append("preempted")
    if row.num_cached_tokens:
        notes.append(f"{row.num_cached_tokens} from the cache")
    if row.num_scheduled_tokens and row.num_computed_tokens < row.num_tokens_before:
        notes.append("chunk")
    if row.finish_reason:
        notes.append(row.finish_reason)
    return ", ".join(notes)
