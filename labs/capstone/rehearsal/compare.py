r"""What did upstream do about it? Three implementations before the same rows.

The pin, the learner's tree, and a later release that carries upstream's repair. That release is
fetched by the drift tool when it is not on this machine; nothing of it is kept but its answers.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from upstream_anchors.drift.releases import release_tree
from upstream_anchors.errors import TreeError
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import need_tree

from capstone.rehearsal import sandbox
from capstone.rehearsal.inside.rows import ROWS
from capstone.rehearsal.stop_table import table
from capstone.rehearsal.workshop import Workshop

#: A release that has the repair, and the newest that the drift records know.
MERGED_IN = "0.33.0"


def short(answer: str) -> str:
    r"""An answer that fits a column: `FINISHED_LENGTH_CAPPED after 6` as `length, 6`."""
    names = {
        "FINISHED_STOPPED": "stop",
        "FINISHED_LENGTH_CAPPED": "length",
        "FINISHED_REPETITION": "repetition",
    }
    status, _, rest = answer.partition(" after ")
    return f"{names[status]}, {rest.split(' ')[0]}" if status in names else answer[:40]


def answers(workshop: Workshop, console: Console) -> dict[str, dict[str, str]]:
    r"""Implementation → its answers; the release is left out, with a line, if it cannot be had."""
    found = {
        "pin": table(workshop, str(need_tree(the_pin()).root), the_pin().version),
        "yours": table(workshop, str(workshop.tree), the_pin().version),
    }
    try:
        release = release_tree(MERGED_IN)
    except TreeError as error:
        console.print(f"{MERGED_IN} cannot be asked: {error}")
        return found
    found[MERGED_IN] = table(workshop, str(release.root), MERGED_IN)
    return found


def show(workshop: Workshop, console: Console) -> int:
    r"""Print the table, a mark on each row in which not all agree, and what the marks mean."""
    sandbox.verify(workshop)
    found = answers(workshop, console)
    grid = Table(box=None, pad_edge=False)
    for heading in ("", "situation", *found):
        grid.add_column(heading)
    different = {}
    for row in ROWS:
        said = [short(one[row.id]) for one in found.values()]
        different[row.id] = len(set(said)) > 1
        grid.add_row("*" if different[row.id] else "", row.says, *said)
    console.print(grid)
    console.print(f"\n* {sum(different.values())} of {len(ROWS)} rows differ.")
    workshop.journal.append(event="compare", answers=found)
    for text in reading(found):
        console.print(f"\n{text}")
    return 0


def reading(found: dict[str, dict[str, str]]) -> list[str]:
    r"""What the differences come to, in words; only of those that are there."""
    mine, theirs = found["yours"], found.get(MERGED_IN)
    if theirs is None:
        return []
    if mine == theirs:
        return ["Your order of the questions is the one that was merged."]
    said = []
    if (
        mine["model-len-below-min"]
        == theirs["model-len-below-min"]
        != found["pin"]["model-len-below-min"]
    ):
        said.append("The defect: both of you end the request by its length. The pin runs on.")
    if mine["eos-below-min"] != theirs["eos-below-min"]:
        said.append(
            "EOS below min_tokens: upstream moved the gate below EOS, stop ids and length, and so "
            "repaired this defect together with another. A finished grammar leaves EOS as the only "
            "legal token, the mask of min_tokens forbids it, and nothing is left to draw; there "
            "EOS now gets through and has to end the request. That is a second contract, and a "
            "test of the pin that states the first was rewritten with it. The comment beside the "
            "new order asks whoever moves it again to read three pull requests first: the order "
            "was what the reviews were about. Yours keeps the contract and repairs the hang alone."
        )
    if mine["eos-at-the-wall"] != theirs["eos-at-the-wall"]:
        said.append(
            f"EOS as the token that fills the context: you say "
            f"{short(mine['eos-at-the-wall'])}, upstream {short(theirs['eos-at-the-wall'])}. "
            f"Both end it. A client reads the first as cut short, the second as finished."
        )
    return said
