r"""The blocks of a real vLLM, moment by moment, and ours beside them.

`capture.json` was recorded inside vLLM 0.22.1 on a CPU: a pool of twelve blocks of sixteen tokens,
and six requests that share, evict, preempt and wait. A *moment* is what the pool says of itself
after the scheduler has planned a step (`scheduled`) or taken its results in (`updated`); moments at
which nothing had changed are left out. Block `i` is entry `i` of `counts` and of `names`.

Run this file to read the recording as a story, told by your functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from labkit.engines import request, scripted_engine

Capture = dict[str, Any]


class Moment(NamedTuple):
    r"""A pool at one moment. `tables`: request to block ids, in the order of its tokens, for those
    that hold any. `counts`: the count of holders of each block. `free`: the ids in the free queue,
    next first. `names`: what each block can be found by, or `None`.
    """

    step: int
    when: str
    tables: dict[str, list[int]]
    counts: list[int]
    free: list[int]
    names: list[Any]


def moments_of(capture: Capture) -> list[Moment]:
    r"""The moments of a recording, in order."""
    return [Moment(**told) for told in capture["moments"]]


def broken_rules(moment: Moment) -> dict[str, set[int]]:
    r"""Which blocks break which of three rules; each rule is there, mostly with an empty set.

    `count`: a block's count is the number of tables that hold it. `free`: a block is in the free
    queue if and only if its count is zero. `once`: no block is twice in the free queue, nor twice
    in one table.
    """
    # lab: begin task 1 "hold the pool to its rules"
    held = [block for table in moment.tables.values() for block in table]
    rows = [moment.free, *moment.tables.values()]
    every = range(len(moment.counts))
    return {
        "count": {block for block in every if moment.counts[block] != held.count(block)},
        "free": {b for b in every if (b in moment.free) != (moment.counts[b] == 0)},
        "once": {block for row in rows for block in row if row.count(block) > 1},
    }
    # lab: end


def happened(before: Moment, after: Moment) -> dict[int, str]:
    r"""What happened to each block between two moments, by id; a block without news is not there.

    | word | count | name |
    |---|---|---|
    | `hit` | from 0 to more | it had one and kept it |
    | `evicted` | from 0 to more | it had one, and has another or none now |
    | `taken` | from 0 to more | it had none |
    | `shared` | from 1 or more to more | |
    | `left` | fewer, and not 0 | |
    | `freed` | from 1 or more to 0 | |
    | `named` | the same | it had none and has one |
    """
    # lab: begin task 2 "say what happened to each block"
    words = {}
    for block, (old, new) in enumerate(zip(before.counts, after.counts)):
        name, now = before.names[block], after.names[block]
        if old == 0 < new:
            words[block] = "taken" if name is None else "hit" if name == now else "evicted"
        elif new > old:
            words[block] = "shared"
        elif new < old:
            words[block] = "left" if new else "freed"
        elif name is None and now is not None:
            words[block] = "named"
    return words
    # lab: end


def queue_after(before: Moment, tables: dict[str, list[int]]) -> list[int]:
    r"""The free queue, computed from what was there before and from the tables of now.

    A queue that is only taken from and appended to has no other order. Requests whose table is gone
    have given it back: the last block first, and of several such requests the one that stands
    first in `before.tables` first; a block that several of them held joins the queue when the last
    lets go. What is held now, by anybody, is not in the queue.
    """
    # lab: begin task 3 "rebuild the free queue"
    held = {block for table in tables.values() for block in table}
    gone = [table for name, table in before.tables.items() if name not in tables]
    returned = [block for table in gone for block in reversed(table)]
    # Whoever lets go last puts it into the queue.
    joined = [block for i, block in enumerate(returned) if block not in returned[i + 1 :]]
    return [block for block in [*before.free, *joined] if block not in held]
    # lab: end


def numbered(moments: Sequence[Moment]) -> list[Moment]:
    r"""The same moments with names 0, 1, 2, … in the order in which they first appear.

    Two engines make different names of equal tokens; numbered, they can be compared. Moments are
    looked through in order, and the blocks of each in the order of their ids. `None` stays `None`.
    """
    # lab: begin task 4 "number the names"
    numbers: dict[Any, int | None] = {}
    return [
        moment._replace(
            names=[
                None if name is None else numbers.setdefault(name, len(numbers))
                for name in moment.names
            ]
        )
        for moment in moments
    ]
    # lab: end


def moment_of(scheduler: Any, step: int, when: str) -> Moment:
    r"""What our engine's pool says of itself, in the form of the recording, copied out.

    `scheduler` is a {py:class}`mini_vllm.core.scheduler.Scheduler`. Its `kv_cache_manager` has
    `req_to_blocks`, from request id to blocks, and `block_pool` with `blocks` and
    `free_block_queue`. Requests that hold no block are left out. Nothing of what is returned may
    change when the engine goes on.
    """
    # lab: begin task 5 "watch our engine"
    manager = scheduler.kv_cache_manager
    pool = manager.block_pool
    tables = {
        name: [block.block_id for block in blocks]
        for name, blocks in manager.req_to_blocks.items()
        if blocks
    }
    return Moment(
        step,
        when,
        tables,
        [block.ref_cnt for block in pool.blocks],
        [block.block_id for block in pool.free_block_queue],
        [block.block_hash for block in pool.blocks],
    )
    # lab: end


def first_difference(theirs: Sequence[Moment], ours: Sequence[Moment]) -> tuple[int, str] | None:
    r"""Where two recordings part: the index of the moment, and the first field that differs.

    Fields are asked in the order in which a {py:class}`Moment` has them. The order of the requests
    in `tables` says nothing; the order of everything else does. A recording that is shorter and
    otherwise equal differs at its length, in `"length"`. `None` when there is no difference.
    """
    # lab: begin task 6 "find the first difference"
    for index, (one, other) in enumerate(zip(theirs, ours)):
        for field in Moment._fields:
            if getattr(one, field) != getattr(other, field):
                return index, field
    if len(theirs) != len(ours):
        return min(len(theirs), len(ours)), "length"
    return None
    # lab: end


# ------------------------------------------------------ given: our engine, and the story


def our_moments(capture: Capture, watch: Callable[..., Moment] | None = None) -> list[Moment]:
    r"""Let our engine serve the requests of a recording; what `watch` saw, as it was recorded."""
    look = watch or moment_of
    sizes, requests = capture["sizes"], capture["requests"]
    engine = scripted_engine(
        {name: told["answer"] for name, told in requests.items()},
        budget=sizes["budget"],
        seats=sizes["seats"],
        blocks=sizes["num_blocks"],
        block_size=sizes["block_size"],
        max_model_len=sizes["max_model_len"],
    )
    scheduler = engine.scheduler
    seen = [look(scheduler, 0, "made")]
    step = 0

    def watched(method: Callable[..., Any], when: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            returned = method(*arguments)
            moment = look(scheduler, step, when)
            if moment[2:] != seen[-1][2:]:
                seen.append(moment)
            return returned

        return call

    scheduler.schedule = watched(scheduler.schedule, "scheduled")
    scheduler.update_from_output = watched(scheduler.update_from_output, "updated")
    last = max(told["arrives"] for told in requests.values())
    while step < last or scheduler.has_unfinished_requests():
        step += 1
        for name, told in requests.items():
            if told["arrives"] == step:
                prompt = [first + n for first, count in told["prompt"] for n in range(count)]
                count = len(told["answer"])
                engine.add_request(request(name, prompt, max_tokens=count, ignore_eos=True))
        engine.step()
    return seen


def main() -> None:
    r"""Tell the recording moment by moment, and say where our engine differs."""
    text = Path(__file__).with_name("capture.json").read_text(encoding="utf-8")
    capture = json.loads(text)
    theirs = numbered(moments_of(capture))
    print(f"{'step':>4}  {'what happened to which blocks':<44}free queue of real vLLM, next first")
    for before, after in pairwise(theirs):
        words: dict[str, list[int]] = {}
        for block, word in happened(before, after).items():
            words.setdefault(word, []).append(block)
        told = ", ".join(f"{word} {' '.join(map(str, blocks))}" for word, blocks in words.items())
        print(f"{after.step:>4}  {told:<44}{' '.join(map(str, after.free))}".rstrip())
    difference = first_difference(theirs, numbered(our_moments(capture)))
    print(f"\nfirst difference to our engine, in {len(theirs)} moments: {difference}")


if __name__ == "__main__":
    main()
