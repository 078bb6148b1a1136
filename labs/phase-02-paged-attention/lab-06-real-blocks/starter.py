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
    # TODO task 1: hold the pool to its rules
    raise NotImplementedError("task 1: hold the pool to its rules")


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
    # TODO task 2: say what happened to each block
    raise NotImplementedError("task 2: say what happened to each block")


def queue_after(before: Moment, tables: dict[str, list[int]]) -> list[int]:
    r"""The free queue, computed from what was there before and from the tables of now.

    A queue that is only taken from and appended to has no other order. Requests whose table is gone
    have given it back: the last block first, and of several such requests the one that stands
    first in `before.tables` first; a block that several of them held joins the queue when the last
    lets go. What is held now, by anybody, is not in the queue.
    """
    # TODO task 3: rebuild the free queue
    raise NotImplementedError("task 3: rebuild the free queue")


def numbered(moments: Sequence[Moment]) -> list[Moment]:
    r"""The same moments with names 0, 1, 2, … in the order in which they first appear.

    Two engines make different names of equal tokens; numbered, they can be compared. Moments are
    looked through in order, and the blocks of each in the order of their ids. `None` stays `None`.
    """
    # TODO task 4: number the names
    raise NotImplementedError("task 4: number the names")


def moment_of(scheduler: Any, step: int, when: str) -> Moment:
    r"""What our engine's pool says of itself, in the form of the recording, copied out.

    `scheduler` is a {py:class}`mini_vllm.core.scheduler.Scheduler`. Its `kv_cache_manager` has
    `req_to_blocks`, from request id to blocks, and `block_pool` with `blocks` and
    `free_block_queue`. Requests that hold no block are left out. Nothing of what is returned may
    change when the engine goes on.
    """
    # TODO task 5: watch our engine
    raise NotImplementedError("task 5: watch our engine")


def first_difference(theirs: Sequence[Moment], ours: Sequence[Moment]) -> tuple[int, str] | None:
    r"""Where two recordings part: the index of the moment, and the first field that differs.

    Fields are asked in the order in which a {py:class}`Moment` has them. The order of the requests
    in `tables` says nothing; the order of everything else does. A recording that is shorter and
    otherwise equal differs at its length, in `"length"`. `None` when there is no difference.
    """
    # TODO task 6: find the first difference
    raise NotImplementedError("task 6: find the first difference")


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
