r"""Steps 1 and 7: does the learner's script show the request that never ends, and no longer?

The script is run under watch ({py:mod}`capstone.rehearsal.inside.observe`). What counts is what
the scheduler did, so a script that prints the right words and shows nothing is found out, and so
is one that merely forgets to hand back tokens: such a request has nothing left to compute, while
the defective one has a token left and is not given it.
"""

from __future__ import annotations

from typing import Any

from upstream_anchors.pin import the_pin
from upstream_anchors.tree import need_tree

from capstone.errors import CapstoneError
from capstone.rehearsal import sandbox
from capstone.rehearsal.verdict import Verdict
from capstone.rehearsal.worker import Outcome, work
from capstone.rehearsal.workshop import Workshop, digest

#: Fewer idle steps than this are a coincidence.
STEPS = 30
LIMIT = 180.0


def watch(workshop: Workshop, vllm: str) -> Outcome:
    r"""Run the learner's script on one tree, and return what the scheduler did."""
    script = workshop.paper("reproduce.py")
    if not script.is_file():
        raise CapstoneError(f"{script}: no such file; `start` puts one there to complete")
    return work(
        workshop,
        "observe.py",
        vllm,
        the_pin().version,
        str(workshop.tree),
        str(script),
        limit=LIMIT,
    )


def stuck(found: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    r"""The request with the longest tail of steps in which it was owed a token and given none."""
    tails: dict[str, list[dict[str, Any]]] = {}
    for row in found.get("rows", []):
        owed = row["num_tokens"] - row["num_computed_tokens"] > 0
        full = row["num_tokens"] >= row["max_model_len"]
        if row["status"] == "RUNNING" and owed and full and row["given"] == 0:
            tails.setdefault(row["request"], []).append(row)
        else:
            tails[row["request"]] = []
    for ended in found.get("ends", {}):
        tails.pop(ended, None)
    return max(tails.items(), key=lambda item: len(item[1]), default=("", []))


def _says_how_it_failed(outcome: Outcome) -> str | None:
    if outcome.timed_out:
        return f"it was still running after {outcome.seconds:.0f} s: bound its loop"
    if (error := outcome.found.get("error")) is not None:
        return str(error)
    return None if outcome.found else outcome.last_line()


def _of(workshop: Workshop, *more: str) -> str:
    path = workshop.paper("reproduce.py")
    return digest(path.read_bytes() if path.is_file() else b"", *more)


def of_before(workshop: Workshop) -> str:
    r"""The digest of what step 1 looks at: the script."""
    return _of(workshop)


def of_after(workshop: Workshop) -> str:
    r"""The digest of what step 7 looks at: the script, and all that was changed in code."""
    return _of(workshop, sandbox.diff(workshop, "vllm"))


def check_before(workshop: Workshop) -> Verdict:
    r"""Step 1, on the pin itself: `upstream/`, whatever was changed in the sandbox."""
    verdict = Verdict(of_before(workshop))
    outcome = watch(workshop, str(need_tree(the_pin()).root))
    if (failure := _says_how_it_failed(outcome)) is not None:
        verdict.complain(f"reproduce.py failed: {failure}")
        return verdict
    found = outcome.found
    request, tail = stuck(found)
    if not found["steps"]:
        verdict.complain("no scheduler was asked to schedule anything")
    elif not found["outputs"]:
        verdict.complain(
            "the scheduler was never given an output: call update_from_output after each step"
        )
    elif len(tail) < STEPS:
        ends = ", ".join(f"request {k} ends as {v['status']}" for k, v in found["ends"].items())
        verdict.complain(
            f"the longest a request stood RUNNING with a token owed and none given is "
            f"{len(tail)} of {found['steps']} steps; {STEPS} are wanted"
            + (f" ({ends})" if ends else "")
        )
    if tail:
        last = tail[-1]
        verdict.evidence = {"request": request, "stuck_for": len(tail), **last}
        verdict.lines.append(
            f"request {request}: RUNNING, num_tokens {last['num_tokens']}, computed "
            f"{last['num_computed_tokens']}, min_tokens {last['min_tokens']}, max_model_len "
            f"{last['max_model_len']}"
        )
        verdict.lines.append(f"given 0 tokens in each of its last {len(tail)} steps")
    return verdict


def check_after(workshop: Workshop, before: dict[str, Any] | None) -> Verdict:
    r"""Step 7, on the sandbox: the same script, and now the request ends, by its length."""
    verdict = Verdict(of_after(workshop))
    if before is None:
        verdict.complain("there is no reproduction to compare with: `check reproduce` first")
        return verdict
    if before.get("of") != _of(workshop):
        verdict.complain(
            "reproduce.py has changed since it showed the defect: before and after need the same "
            "script (`check reproduce` again)"
        )
        return verdict
    outcome = watch(workshop, str(workshop.tree))
    if (failure := _says_how_it_failed(outcome)) is not None:
        verdict.complain(f"reproduce.py failed on your tree: {failure}")
        return verdict
    evidence = before["evidence"]
    _, tail = stuck(outcome.found)
    end = outcome.found["ends"].get(evidence["request"])
    if end is None:
        verdict.complain(f"request {evidence['request']} still does not end")
    elif end["status"] != "FINISHED_LENGTH_CAPPED":
        verdict.complain(f"it ends as {end['status']}; a request that ran out of room was capped")
    verdict.evidence = {"ends": end, "stuck_for": len(tail)}
    verdict.lines = [
        f"{'':24}{'before':>12}{'after':>12}",
        f"{'steps with nothing given':24}{evidence['stuck_for']:>12}{len(tail):>12}",
        f"{'ends in step':24}{'never':>12}{end['step'] if end else 'never':>12}",
        f"{'tokens at the end':24}{evidence['num_tokens']:>12}"
        f"{end['num_tokens'] if end else '-':>12}",
    ]
    return verdict
