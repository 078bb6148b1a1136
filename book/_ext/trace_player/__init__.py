r"""The trace player: a recorded run of the engine, step by step, wherever time matters.

## On a page

````md
```{trace} preemption
:caption: "B gives way in step 7. Watch where its blocks go."
:name: p03-fig-preemption
:show: requests, blocks, queue
:start: 6
:steps: 13
```
````

The argument names a scenario of `book/traces/registry.py`. Its caption is required: it says what
to look for. `:show:` chooses panels among `requests`, `budget`, `blocks` and `queue`, all of them
by default. `:start:` is the step that is shown first, 1 by default, 0 for the state before it.
`:steps:` cuts the run after that many steps. `:name:` makes the figure a target, as anywhere.
`:compact:` leaves out the table of steps and the folds while the script runs, and `:plays: 2` lets
it run by itself, twice, from when it is first seen until somebody touches it; never for a reader
who asked for less motion. `#trace=preemption&step=7` behind the address of the page opens the
player at that step; the player has a link to the step it shows.

| scenario | shows |
|---|---|
| `first-requests` | chunked prefill, mixed steps, a queue's order after the ends |
| `preemption` | a pool that runs dry, the victim, a partial hit when it comes back |
| `prefix-sharing` | a hit, a count of two, blocks freed last first, evictions on reuse |
| `static-vs-continuous` | two lanes, the same six requests; use `:show: requests, budget` |

## A new scenario

A module in `book/traces/` with a `NAME` and a function `play` that returns a
{py:class}`~book.traces.recording.Recording`; then its name in the registry. `play` says who
arrives when and what the engine's limits are, see {py:func}`book.traces.arrivals.record`. It must
not say what happens: the recorder looks, and the sentences are made from what it saw. Every
invariant is checked after every step. Keep it small, so that a reader can count along: a block
size of four, prompts below thirty tokens, some twenty steps.

## What the reader gets

Without scripts and in print: a table of requests by steps, one of blocks by steps, a legend, and
every step in words. With scripts: `trace-player.js` builds the moving picture from the recording
in the page. The sentences are the same, and are read aloud as the steps go by.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from book._ext.trace_player.directive import TraceDirective
from book._ext.trace_player.store import forget, outdated, pages


def add_assets(app: Sphinx, pagename: str, template: str, context: dict, doctree: Any) -> None:
    """Style and script, on the pages that have a player and on no others."""
    if pagename in pages(app.env):
        app.add_css_file("trace-player.css")
        app.add_js_file("trace-player.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directive."""
    app.setup_extension("book._ext.notebooks")  # which has read the code
    app.add_directive("trace", TraceDirective)
    app.connect("env-get-outdated", outdated)
    app.connect("env-purge-doc", forget)
    app.connect("html-page-context", add_assets)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False}
