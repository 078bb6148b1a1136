r"""The second defect, shown and left to you: a pair of limits that ends the input thread.

The rehearsal has no steps for it. What is here is the reproduction, on the pin and no other tree.
"""

from __future__ import annotations

from rich.console import Console
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import need_tree

from capstone.errors import CapstoneError
from capstone.rehearsal.worker import work
from capstone.rehearsal.workshop import Workshop

LIMIT = 120.0


def show(workshop: Workshop, console: Console) -> int:
    r"""Send three requests to the pin's input thread, and print which of them arrive."""
    workshop.need_sandbox()
    pinned = str(need_tree(the_pin()).root)
    outcome = work(workshop, "pair.py", pinned, the_pin().version, limit=LIMIT)
    if not (rows := outcome.found.get("rows")):
        raise CapstoneError(f"{pinned}: its input thread could not be asked: {outcome.last_line()}")
    for row in rows:
        arrived = "arrived" if row["arrived"] else "did not arrive"
        thread = "the thread runs" if row["thread"] else "the thread is gone"
        console.print(f"{row['request']:9} {arrived:15} {thread}")
    for text in outcome.found["raised"]:
        console.print(f"raised in the thread: {text}")
    workshop.journal.append(event="second", **outcome.found)
    return 0
