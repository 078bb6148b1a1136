r"""What does continuous batching look like, on a time axis?

Like this: open <https://ui.perfetto.dev> (it stays in the browser), or `chrome://tracing`, and drop
a file in that was written by

```console
$ python -m mini_vllm.observe book/model/checkpoint --prompt "def schedule(" --prompt "import os" \
      --trace run.json
```

Two groups of tracks appear. **engine** has one track, on which each step is a slice and its four
stages are slices inside it, and below it three counters: requests running and waiting, blocks of
the cache in use, tokens of the budget used. **requests** has a track for each request: what it was
doing (*waiting*, *prefill*, *decode*, *preempted*, *passed over*), and within that, how many tokens
each step took of it. An arrow goes from the scheduler's decision to the request, whenever one is
admitted or loses its blocks.

Time on the tracks is the engine's. A request is met when a step begins; how long it had waited
before the first step that saw it is not drawn.

The format is the Trace Event Format, which both viewers read: a list of events, each with a phase
(`X` a slice with a duration, `C` a counter, `s` and `f` the ends of an arrow, `M` a name), times in
microseconds, and a process and a thread, which here are a group and a track. Slices of one track
nest by time alone, so no slice may end after the one it began in.

vLLM records no such thing of its own. What can be had is torch's profiler, which writes the same
format with the kernels in it and without the requests
({up}`vllm/profiler/wrapper.py#TorchProfilerWrapper`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mini_vllm.engine.core import EngineCore
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.observe.probe import Probe, RequestRecord, StepRecord

ENGINE, REQUESTS = 1, 2
_STEP_TRACK = 1
STAGES = ("schedule", "execute", "sample", "update")

Event = dict[str, Any]


def state(row: RequestRecord) -> str:
    r"""What a request was doing in a step, as its track says it.

    *Passed over* is a request that holds its seat and got no token: the budget was used up before
    its turn. A request that computes its own answer again, after it was preempted, is in *prefill*:
    many tokens in one step.
    """
    if row.num_scheduled_tokens:
        return "decode" if row.is_decode else "prefill"
    if row.preempted or row.status_before == "PREEMPTED":
        return "preempted"
    return "waiting" if row.status_before == "WAITING" else "passed over"


def trace_events(records: Sequence[StepRecord]) -> list[Event]:
    r"""The events of a run, names first, then by time.

    A step that did not come to its end, because a stage raised, is drawn as far as it came.
    """
    timed = [record for record in records if record.spans]
    if not timed:
        return _names([])
    origin = min(_began(record) for record in timed)
    tracks: dict[str, int] = {}
    for record in timed:
        for req_id in record.requests:
            tracks.setdefault(req_id, len(tracks) + 1)
    clock = _Clock(origin)
    events: list[Event] = []
    for record in timed:
        events += _step_events(record, clock)
        events += _counters(record, clock)
        events += _arrows(record, tracks, clock)
    for req_id, track in tracks.items():
        events += _request_events(req_id, track, timed, clock)
    # A slice before those inside it: they begin no earlier, and last no longer.
    events.sort(key=lambda event: (event["ts"], -event.get("dur", 0)))
    return _names(list(tracks)) + events


def write_perfetto(records: Sequence[StepRecord], path: Path) -> None:
    """Write the events of a run as a file that Perfetto and Chrome open."""
    document = {"traceEvents": trace_events(records), "displayTimeUnit": "ms"}
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")


@contextmanager
def tracing(engine: EngineCore | LLMEngine, path: Path) -> Iterator[Probe]:
    r"""Watch an engine, and write what was seen into `path` at the end, whatever happens.

    For a command line with an option `--trace FILE`. The directory must exist.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no directory {str(path.parent)!r} to write a trace to")
    with Probe(engine) as probe:
        try:
            yield probe
        finally:
            write_perfetto(probe.records, path)


class _Clock:
    """Nanoseconds of the probe's clock to microseconds since the first step."""

    def __init__(self, origin: int) -> None:
        self.origin = origin

    def __call__(self, nanoseconds: int) -> float:
        return (nanoseconds - self.origin) / 1000

    def slice(
        self, name: str, group: int, track: int, began: int, ended: int, **arguments: Any
    ) -> Event:
        return {
            "name": name,
            "ph": "X",
            "ts": self(began),
            # From the two ends as written, so that nested slices end together to the last digit.
            "dur": self(ended) - self(began),
            "pid": group,
            "tid": track,
            "args": arguments,
        }


def _began(record: StepRecord) -> int:
    return min(began for began, _ in record.spans.values())


def _ended(record: StepRecord) -> int:
    return max(ended for _, ended in record.spans.values())


def _step_events(record: StepRecord, clock: _Clock) -> Iterator[Event]:
    yield clock.slice(
        f"step {record.index}",
        ENGINE,
        _STEP_TRACK,
        _began(record),
        _ended(record),
        step=record.index,
        tokens=record.total_num_scheduled_tokens,
        requests=len(record.scheduled),
        finished=record.finished_req_ids,
    )
    for stage in STAGES:
        if stage in record.spans:
            yield clock.slice(stage, ENGINE, _STEP_TRACK, *record.spans[stage], step=record.index)


def _counters(record: StepRecord, clock: _Clock) -> Iterator[Event]:
    # After schedule: who runs and which blocks are taken is decided then.
    when = clock(record.spans["schedule"][1]) if "schedule" in record.spans else 0.0
    used = record.total_num_scheduled_tokens
    for name, values in (
        ("requests", {"running": record.num_running, "waiting": record.num_waiting}),
        ("KV blocks", {"used": record.num_blocks - record.num_free_blocks}),
        ("token budget", {"used": used, "left": record.token_budget - used}),
    ):
        yield {"name": name, "ph": "C", "ts": when, "pid": ENGINE, "tid": 0, "args": values}


def _arrows(record: StepRecord, tracks: dict[str, int], clock: _Clock) -> Iterator[Event]:
    """From the scheduler to each request that it admitted or took the blocks of."""
    if "schedule" not in record.spans:
        return
    began, ended = record.spans["schedule"]
    for req_id, row in record.requests.items():
        if not (row.admitted or row.preempted):
            continue
        name = "admitted" if row.admitted else "preempted"
        common = {"name": name, "cat": "decision", "id": f"{record.index}/{req_id}"}
        yield {**common, "ph": "s", "ts": clock(began), "pid": ENGINE, "tid": _STEP_TRACK}
        end = {"ph": "f", "bp": "e", "ts": clock(ended), "pid": REQUESTS, "tid": tracks[req_id]}
        yield {**common, **end}


def _request_events(
    req_id: str, track: int, records: Sequence[StepRecord], clock: _Clock
) -> Iterator[Event]:
    """A slice for each stretch in which the request did one thing, and in it one a step."""
    stretch: list[tuple[StepRecord, RequestRecord, int]] = []
    for number, record in enumerate(records):
        row = record.requests.get(req_id)
        if row is None:
            continue
        # It goes on being so until the next step decides anew, unless it has ended.
        last = row.finished or number + 1 == len(records)
        until = _ended(record) if last else _began(records[number + 1])
        if stretch and state(stretch[-1][1]) != state(row):
            yield from _stretch(stretch, track, clock)
            stretch = []
        stretch.append((record, row, until))
    if stretch:
        yield from _stretch(stretch, track, clock)


def _stretch(
    stretch: Sequence[tuple[StepRecord, RequestRecord, int]], track: int, clock: _Clock
) -> Iterator[Event]:
    (first, first_row, _), (_, last_row, until) = stretch[0], stretch[-1]
    yield clock.slice(
        state(first_row),
        REQUESTS,
        track,
        _began(first),
        until,
        request=first_row.req_id,
        tokens=sum(row.num_scheduled_tokens for _, row, _ in stretch),
        from_cache=sum(row.num_cached_tokens for _, row, _ in stretch),
        blocks=len(last_row.block_ids),
        finish_reason=last_row.finish_reason,
    )
    for record, row, _ in stretch:
        if row.num_scheduled_tokens:
            count = row.num_scheduled_tokens
            yield clock.slice(
                f"{count} token" + "s" * (count > 1),
                REQUESTS,
                track,
                _began(record),
                _ended(record),
                step=record.index,
                computed=row.num_computed_tokens,
                drew=row.sampled_token_ids,
                block_ids=row.block_ids,
            )


def _names(req_ids: Sequence[str]) -> list[Event]:
    """The names of groups and tracks, and their order."""

    def name(what: str, group: int, track: int, **arguments: Any) -> Event:
        return {
            "name": what,
            "ph": "M",
            "ts": 0,
            "pid": group,
            "tid": track,
            "args": arguments,
        }

    events = [
        name("process_name", ENGINE, 0, name="engine"),
        name("process_sort_index", ENGINE, 0, sort_index=0),
        name("thread_name", ENGINE, _STEP_TRACK, name="steps"),
        name("process_name", REQUESTS, 0, name="requests"),
        name("process_sort_index", REQUESTS, 0, sort_index=1),
    ]
    for track, req_id in enumerate(req_ids, 1):
        events.append(name("thread_name", REQUESTS, track, name=f"request {req_id}"))
        events.append(name("thread_sort_index", REQUESTS, track, sort_index=track))
    return events
