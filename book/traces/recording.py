r"""What a recording holds: lanes, frames, and everything that a frame shows.

A frame is the state *after* a step, with marks on what the step changed. Frame 0 is the state
before the first step. A recording with two lanes shows two engines that got the same requests.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, replace

FORMAT = 1

#: Where a request is, as the frames number it: not here yet, waiting, running, preempted, finished.
STATUSES = ("to come", "waiting", "running", "preempted", "finished")

#: Kinds of events that are about blocks only.
MEMORY_KINDS = ("evict", "free")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in a step: its kind, for a mark beside it, and a sentence."""

    kind: str
    text: str


@dataclass(slots=True)
class RequestFrame:
    r"""One request at the end of a step.

    `before` is how many tokens were computed when the step began, `cached` how many a prefix hit
    added, `scheduled` how many the step computed; `computed` is their sum, but 0 for a victim.
    `drawn` counts the tokens sampled. `blocks` is the block table, empty once it is given back.
    """

    status: int
    before: int = 0
    cached: int = 0
    scheduled: int = 0
    computed: int = 0
    tokens: int = 0
    drawn: int = 0
    blocks: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Frame:
    r"""The engine at the end of a step.

    `refs[i]` and `names[i]` are of block `i`: how many block tables hold it, and whose full block
    can be found there, as `[request, number of the block in its table]`, or nothing. `queue` is the
    free queue from head to tail. `marks` says what became of a block in this step: `new`, `evicted`
    (new, and its name lost), `hit`, `freed`.
    """

    step: int
    requests: list[RequestFrame]
    refs: list[int]
    names: list[list[int] | None]
    queue: list[int]
    marks: dict[int, str]
    events: list[Event]

    @property
    def scheduled(self) -> int:
        """How many tokens the step computed, over all requests."""
        return sum(request.scheduled for request in self.requests)

    def sentence(self, *, memory: bool = True) -> str:
        """What happened, to be read aloud; without `memory` nothing is said of blocks alone."""
        return " ".join(e.text for e in self.events if memory or e.kind not in MEMORY_KINDS)


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """What is known of a request beforehand: its name, its lengths, the step it arrives in."""

    name: str
    prompt: int
    answer: int
    arrives: int


@dataclass(slots=True)
class Lane:
    """One engine's run: its limits, and a frame for each step after frame 0."""

    label: str
    budget: int
    seats: int
    block_size: int
    num_blocks: int
    requests: list[RequestPlan]
    frames: list[Frame] = field(default_factory=list)

    @property
    def num_steps(self) -> int:
        """How many steps were recorded."""
        return len(self.frames) - 1


@dataclass(slots=True)
class Recording:
    """One scenario, recorded: what the page shows, and all that the script of the page gets."""

    name: str
    title: str
    lanes: list[Lane]

    @property
    def num_steps(self) -> int:
        """The number of steps of the longest lane."""
        return max(lane.num_steps for lane in self.lanes)

    def shortened(self, num_steps: int) -> Recording:
        """The same run, cut after `num_steps` steps."""
        lanes = [replace(lane, frames=lane.frames[: num_steps + 1]) for lane in self.lanes]
        return replace(self, lanes=lanes)

    def to_json(self) -> str:
        """Lists instead of objects, in the order of the fields above; no spaces, no markup."""
        data = {
            "format": FORMAT,
            "name": self.name,
            "title": self.title,
            "lanes": [_lane(lane) for lane in self.lanes],
        }
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        # Inside a script element the text must not look like the end of it.
        return text.replace("<", "\\u003c")

    def digest(self) -> str:
        """A short hash of everything that is shown."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]


def _lane(lane: Lane) -> dict[str, object]:
    return {
        "label": lane.label,
        "budget": lane.budget,
        "seats": lane.seats,
        "size": lane.block_size,
        "blocks": lane.num_blocks,
        "requests": [_values(plan) for plan in lane.requests],
        "frames": [
            [
                frame.step,
                [_values(request) for request in frame.requests],
                frame.refs,
                [name or 0 for name in frame.names],
                frame.queue,
                frame.marks,
                [[event.kind, event.text] for event in frame.events],
            ]
            for frame in lane.frames
        ],
    }


def _values(record: object) -> list[object]:
    return [getattr(record, f.name) for f in fields(record)]  # type: ignore[arg-type]
