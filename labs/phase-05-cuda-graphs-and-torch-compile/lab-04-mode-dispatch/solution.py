r"""Eager, in pieces, or in one graph? Who decides, from what, and what the reason was.

Twice something is decided. Before anything is captured: which graphs can be had, from what was
asked for and from what the attention backends can be part of. And in every step: which of them
fits. Modes, and what a backend supports, are words; the words are upstream's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

#: How one step can be run.
NONE, PIECEWISE, FULL = "NONE", "PIECEWISE", "FULL"
#: What may be asked for besides: another way for steps of decodes than for the others.
FULL_DECODE_ONLY, FULL_AND_PIECEWISE = "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE"
MODES = (NONE, PIECEWISE, FULL, FULL_DECODE_ONLY, FULL_AND_PIECEWISE)

#: In which steps an attention backend can be part of a graph, from the weakest to the strongest:
#: in none; where each request has one token; where all have the same number of tokens; in all.
SUPPORT = ("NEVER", "UNIFORM_SINGLE_TOKEN_DECODE", "UNIFORM_BATCH", "ALWAYS")


class Refused(ValueError):
    r"""What was asked for cannot be had, and nothing near it either."""


class Shape(NamedTuple):
    r"""What a graph is captured for. `num_reqs` is `None` if any number of requests will do."""

    num_tokens: int
    num_reqs: int | None = None
    uniform: bool = False


class Resolved(NamedTuple):
    r"""The graphs that there will be, and a reason for each step down from what was asked for."""

    mode: str
    reasons: tuple[str, ...] = ()


class Setup(NamedTuple):
    r"""What a runner knows before its first step. `sizes` are one at least, and ascend;
    `query_len` is a decode's tokens: 1, and one more for each draft.
    """

    mode: str
    sizes: tuple[int, ...]
    max_num_seqs: int
    query_len: int = 1


class Choice(NamedTuple):
    r"""How one step is run: NONE, PIECEWISE or FULL, in what shape, and why so."""

    mode: str
    shape: Shape
    reason: str


def routines(mode: str) -> tuple[str, str]:
    r"""How a mode runs steps of decodes alone, and how it runs the others: two of NONE, PIECEWISE
    and FULL.
    """
    # lab: begin task 1 "two modes in one"
    if mode == FULL_DECODE_ONLY:
        return FULL, NONE
    if mode == FULL_AND_PIECEWISE:
        return FULL, PIECEWISE
    return mode, mode
    # lab: end


def weakest(backends: Mapping[str, str]) -> tuple[str | None, str]:
    r"""Which backend of a model can be part of the fewest steps, and its support.

    `backends` has a word of `SUPPORT` for each name. The first one counts if several are equally
    weak. If all can be part of every step, or there are none, nobody is to blame: `None`.
    """
    # lab: begin task 2 "the weakest decides"
    name, support = None, SUPPORT[-1]
    for backend, can in backends.items():
        if SUPPORT.index(can) < SUPPORT.index(support):
            name, support = backend, can
    return name, support
    # lab: end


def resolve(
    asked: str, backend: str | None, support: str, pieces: bool, query_len: int = 1
) -> Resolved:
    r"""Lower what was asked for to what can be had, step by step, in this order.

    1. PIECEWISE or FULL_AND_PIECEWISE without `pieces`: NONE. The model was not cut at its
       attention, so there is nothing to capture between two of them.
    2. FULL in every step needs a backend that is part of every step, ALWAYS. One that is part of
       none makes it `Refused`. Otherwise it becomes FULL_AND_PIECEWISE, or FULL_DECODE_ONLY
       without `pieces`.
    3. FULL for decodes alone needs a backend that is part of some step, and of steps with more than
       one token a request if `query_len` is more than 1. Otherwise it becomes PIECEWISE, or NONE
       without `pieces`.

    Each time that the mode is lowered, there is one reason more; it names the mode that was left,
    the mode that it became and, in 2 and 3, the backend and its support. So does the refusal, but
    for a mode that it became.
    """
    # lab: begin task 3 "what can be had"
    mode, reasons = asked, []

    def lower(to: str, why: str) -> str:
        reasons.append(f"{mode} becomes {to}: {why}")
        return to

    limits = f"{backend} supports graphs {support}"
    if routines(mode)[1] == PIECEWISE and not pieces:
        mode = lower(NONE, "the model is not cut into pieces")
    if routines(mode)[1] == FULL and support != "ALWAYS":
        if support == "NEVER":
            raise Refused(f"{asked} cannot be had: {limits}; ask for {PIECEWISE}")
        mode = lower(FULL_AND_PIECEWISE if pieces else FULL_DECODE_ONLY, limits)
    needed = "UNIFORM_BATCH" if query_len > 1 else "UNIFORM_SINGLE_TOKEN_DECODE"
    if routines(mode)[0] == FULL and SUPPORT.index(support) < SUPPORT.index(needed):
        mode = lower(PIECEWISE if pieces else NONE, f"{limits}, a decode has {query_len} token(s)")
    return Resolved(mode, tuple(reasons))
    # lab: end


def for_drafts(sizes: Sequence[int], query_len: int) -> tuple[int, ...]:
    r"""The sizes as multiples of a decode's tokens: each rounded up, unless that is more than the
    largest of `sizes`. Ascending, and none twice.

    If none is left, and one decode is not more than the largest, then that alone. Otherwise
    `Refused`, with both numbers in the message.
    """
    # lab: begin task 4 "multiples of a decode"
    largest = max(sizes)
    if query_len > largest:
        raise Refused(f"a decode has {query_len} tokens, the largest size is {largest}")
    rounded = {-(-size // query_len) * query_len for size in sizes}
    kept = sorted(size for size in rounded if size <= largest)
    return tuple(kept or [query_len])
    # lab: end


def captured(setup: Setup) -> list[tuple[str, Shape]]:
    r"""What has to be captured for a setup, in order: pieces first, and the largest first in each.

    - Pieces fit any number of requests, and are there for each size.
    - Full graphs of the mode FULL are there for each size too. They have as many requests as
      tokens, but no more than `max_num_seqs`, and are not uniform.
    - Full graphs for decodes alone are uniform. They are there for sizes from one decode to
      `max_num_seqs` of them, with the requests that the tokens are enough for.
    """
    # lab: begin task 5 "what is captured"
    decode, mixed = routines(setup.mode)
    most = setup.max_num_seqs * setup.query_len
    found = []
    for size in reversed(setup.sizes):
        if mixed == PIECEWISE:
            found.append((PIECEWISE, Shape(size)))
        elif mixed == FULL:
            found.append((FULL, Shape(size, min(size, setup.max_num_seqs))))
    for size in reversed(setup.sizes):
        if decode == FULL and mixed != FULL and setup.query_len <= size <= most:
            found.append((FULL, Shape(size, size // setup.query_len, uniform=True)))
    return found
    # lab: end


def is_uniform(scheduled: Sequence[int], query_len: int) -> bool:
    r"""Whether a step is decodes alone: each of its requests has exactly a decode's tokens."""
    # lab: begin task 6 "decodes alone"
    return all(tokens == query_len for tokens in scheduled)
    # lab: end


def dispatch(
    scheduled: Sequence[int],
    setup: Setup,
    graphs: Collection[tuple[str, Shape]],
    allowed: Collection[str] = (FULL, PIECEWISE),
) -> Choice:
    r"""How to run a step whose requests have `scheduled` tokens each; `graphs` is what there is.

    A full graph is the first choice, pieces are the second one, and an eager step is the last. The
    shape of an eager step is its number of tokens, and nothing more. `allowed` may forbid a kind of
    graph for this step.

    A graph is looked for under the smallest size that holds the step, and under no other. A full
    one has the shape that `captured` gives to that size: the uniform one where the step
    is uniform and the mode has another way for such steps, else the one of the mode FULL.

    The reason has the number of tokens; for a graph also its size; for an eager step what was in
    the way: the largest size, if the step is larger, otherwise the name of the setup's mode.
    """
    # lab: begin task 7 "choose"
    tokens = sum(scheduled)
    size = next((size for size in setup.sizes if size >= tokens), None)
    if size is None:
        return Choice(
            NONE, Shape(tokens), f"{tokens} tokens, the largest size is {setup.sizes[-1]}"
        )
    decode, mixed = routines(setup.mode)
    if decode != mixed and is_uniform(scheduled, setup.query_len):
        whole = Shape(size, min(size // setup.query_len, setup.max_num_seqs), uniform=True)
    else:
        whole = Shape(size, min(size, setup.max_num_seqs))
    for mode, shape in ((FULL, whole), (PIECEWISE, Shape(size))):
        if mode in allowed and (mode, shape) in graphs:
            return Choice(mode, shape, f"{tokens} tokens in the {mode} graph of {size}")
    why = f"{setup.mode} has no graph of {size} that may be used"
    return Choice(NONE, Shape(tokens), f"{tokens} tokens, {why}")
    # lab: end


def main() -> None:
    r"""Print what becomes of what was asked for, and how some steps are run then."""
    sizes = (1, 2, 4, *range(8, 121, 8))
    flash, linear = {"FLASH_ATTN": "ALWAYS"}, {"LINEAR": "UNIFORM_SINGLE_TOKEN_DECODE"}
    cases = [
        (FULL_AND_PIECEWISE, flash, True, 1),
        (FULL_AND_PIECEWISE, flash, True, 4),
        (FULL_AND_PIECEWISE, flash | linear, True, 4),
        (FULL_AND_PIECEWISE, {"OTHER": "NEVER"}, True, 1),
        (FULL, linear, False, 1),
    ]
    steps = {
        "33 requests, a token each": [1] * 33,
        "58 requests, a token each": [1] * 58,
        "32 a token each, a chunk of 35": [1] * 32 + [35],
        "9 requests, 4 tokens each": [4] * 9,
        "a chunk of 200": [200],
    }
    for asked, backends, pieces, query_len in cases:
        resolved = resolve(asked, *weakest(backends), pieces, query_len)
        decode, _ = routines(resolved.mode)
        fitting = for_drafts(sizes, query_len) if decode == FULL else sizes
        setup = Setup(resolved.mode, fitting, 60, query_len)
        graphs = captured(setup)
        names = " and ".join(backends)
        print(f"{asked} on {names}, a decode has {query_len}: {setup.mode}, {len(graphs)} graphs")
        for reason in resolved.reasons:
            print(f"    {reason}")
        for what, scheduled in steps.items():
            choice = dispatch(scheduled, setup, graphs)
            print(f"  {what:<32}{choice.mode:<11}{choice.reason}")
        print()


if __name__ == "__main__":
    main()
