"""Where this scheduler differs from the pinned one on purpose: the whole list, as data.

Each row evens out *one* named field of a step's record, and says which lines of the pinned tree it
is about. The comparison applies exactly these rows and no other; the book prints them. No row may
touch a decision: tokens per request, victims, hits, counts, finish reasons are compared as they
are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

OURS, PINNED = "ours", "pinned"


@dataclass(frozen=True)
class IntendedDifference:
    r"""One row: a field of the record, what either side does, and how they are made comparable.

    `normalise(value, record)` is applied to the field of one `side`, or of both. `field` may be the
    beginning of a name: the state of the pool is recorded twice in a step.
    """

    field: str
    side: str
    ours: str
    pinned: str
    evened_out: str
    anchor: str
    normalise: Callable[[Any, dict[str, Any]], Any]


def _only_group(value: Any, record: dict[str, Any]) -> Any:
    return {req_id: None if ids is None else ids[0] for req_id, ids in value.items()}


def _none_sent(value: list[list[int]], record: dict[str, Any]) -> list[list[int]]:
    # Only the tokens of resumed requests may be in there: more would be another difference.
    resumed = [req_id in record["resumed"] for req_id, *_ in record["cached"]]
    return [ids for ids, allowed in zip(value, resumed, strict=True) if ids and not allowed]


def _of_the_resumed(value: dict[str, list[int]], record: dict[str, Any]) -> dict[str, list[int]]:
    return {req_id: ids for req_id, ids in value.items() if req_id in record["resumed"]}


def _of_all_clients(value: dict[int, list[Any]], record: dict[str, Any]) -> list[Any]:
    return [one for outputs in value.values() for one in outputs]


def _first_seen(value: list[Hashable], record: dict[str, Any]) -> list[int | None]:
    order: dict[Hashable, int] = {}
    return [None if name is None else order.setdefault(name, len(order)) for name in value]


#: The table. At most five rows; a test holds it to that, and to the fields that it must not touch.
TABLE = (
    IntendedDifference(
        field="block_ids",
        side=PINNED,
        ours="one list of block ids for each request",
        pinned="one list for each group of layers",
        evened_out="the list of its only group",
        anchor="vllm/v1/core/sched/output.py#NewRequestData.block_ids",
        normalise=_only_group,
    ),
    IntendedDifference(
        field="new_token_ids",
        side=OURS,
        ours="for a resumed request the tokens to compute, for others nothing",
        pinned="nothing, except to the stages of a pipeline",
        evened_out="the tokens of resumed requests are left out",
        anchor="vllm/v1/core/sched/scheduler.py#Scheduler._make_cached_request_data"
        '@"if self.use_pp and not"',
        normalise=_none_sent,
    ),
    IntendedDifference(
        field="all_token_ids",
        side=PINNED,
        ours="the tokens of each resumed request",
        pinned="also those of a running request that got nothing in the step before",
        evened_out="those of running requests are left out",
        anchor="vllm/v1/core/sched/scheduler.py#Scheduler._make_cached_request_data"
        '@"if not scheduled_in_prev_step:"',
        normalise=_of_the_resumed,
    ),
    IntendedDifference(
        field="outputs",
        side=PINNED,
        ours="one list of news",
        pinned="a list for each front-end process",
        evened_out="the lists, one after the other",
        anchor="vllm/v1/core/sched/scheduler.py#Scheduler.update_from_output"
        '@"outputs: dict[int, list[EngineCoreOutput]]"',
        normalise=_of_all_clients,
    ),
    IntendedDifference(
        field="block_hash",
        side="both",
        ours="SHA-256 over the parent and eight bytes a token, from a fixed root",
        pinned="a hash of a pickled tuple, from a root that is random in each process",
        evened_out="which blocks carry equal names, and not the names",
        anchor="vllm/v1/core/kv_cache_utils.py#init_none_hash",
        normalise=_first_seen,
    ),
)

#: What no row may touch; the beginnings of the record's fields.
DECISIONS = (
    "scheduled",
    "total",
    "victims",
    "preempted",
    "finished",
    "resumed",
    "new",
    "cached",
    "running",
    "waiting",
    "skipped",
    "computed",
    "free blocks",
    "holders",
    "tables",
    "resets",
)


def normalised(
    record: dict[str, Any], side: str, table: tuple[IntendedDifference, ...] = TABLE
) -> dict[str, Any]:
    """A copy of a step's record with the table's rows applied to the fields of this side."""
    result = dict(record)
    for row in table:
        if row.side in (side, "both"):
            for name in record:
                if name == row.field or name.startswith(f"{row.field} "):
                    result[name] = row.normalise(record[name], record)
    return result
