r"""How do you keep what you saw?

A {py:class}`~mini_vllm.observe.probe.Probe` lives as long as its process. A trace file lives until
somebody asks what happened on Tuesday, with a newer version of this code in hand. So it says what
it is and which version of the format it has, and it is refused by a reader that knows another.

The file is one JSON object:

| key | holds |
|---|---|
| `format` | `"mini_vllm.trace"` |
| `version` | {py:data}`VERSION`; raised whenever the meaning of a key changes |
| `clock` | `"monotonic_ns"`: what `spans` are counted in; only differences mean something |
| `steps` | a list, one object a step, in order |

A step has the fields of a {py:class}`~mini_vllm.observe.probe.StepRecord` under their names, and
its `requests` those of a {py:class}`~mini_vllm.observe.probe.RequestRecord` by request id: the
three moments of each request, the ids of its blocks before and after, what it was scheduled, what
it drew. `spans` maps `schedule`, `execute`, `sample` and `update` to `[began, ended]`.

To look at one, {py:mod}`~mini_vllm.observe.perfetto` draws it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mini_vllm.observe.probe import RequestRecord, StepRecord
from mini_vllm.observe.trace import Trace

FORMAT = "mini_vllm.trace"
VERSION = 1


class TraceFileError(ValueError):
    """A file that is no trace, or one of another version."""


def to_document(records: Sequence[StepRecord]) -> dict[str, Any]:
    """The records as one object that JSON can hold."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "clock": "monotonic_ns",
        "steps": [asdict(record) for record in records],
    }


def from_document(document: Any) -> Trace:
    r"""The trace that {py:func}`to_document` made the object of.

    Raises {py:class}`TraceFileError` for another format or version, and for a step that lacks a
    field or has one too many.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise TraceFileError("this is no trace of mini_vllm")
    if document.get("version") != VERSION:
        raise TraceFileError(
            f"trace version {document.get('version')!r}; this reader knows {VERSION}"
        )
    return Trace([_step(number, step) for number, step in enumerate(document["steps"])])


def write_trace(records: Sequence[StepRecord], path: Path) -> None:
    """Write the records as a trace file."""
    path.write_text(json.dumps(to_document(records)) + "\n", encoding="utf-8")


def read_trace(path: Path) -> Trace:
    """Read a trace file; raises {py:class}`TraceFileError` for anything else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TraceFileError(f"{path.name} is no JSON: {error}") from error
    return from_document(document)


def _step(number: int, step: dict[str, Any]) -> StepRecord:
    _check(f"step {number}", step, StepRecord)
    requests = {}
    for req_id, row in step["requests"].items():
        _check(f"step {number}, request {req_id!r}", row, RequestRecord)
        requests[req_id] = RequestRecord(**row)
    spans = {stage: (began, ended) for stage, (began, ended) in step["spans"].items()}
    return StepRecord(**{**step, "requests": requests, "spans": spans})


def _check(where: str, row: dict[str, Any], kind: type) -> None:
    wanted = {field.name for field in fields(kind)}
    if wrong := wanted ^ set(row):
        raise TraceFileError(f"{where}: {', '.join(sorted(wrong))} missing or unknown")
