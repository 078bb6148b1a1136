r"""Output of a cell, joined where the kernel happened to cut it.

A kernel sends what a cell prints in pieces, and where it cuts depends on the clock. MyST-NB ends
every piece with a new line when it joins them, so a line that was printed in two parts is one line
in most builds and two in some. Here the pieces are joined as they were printed.
"""

from __future__ import annotations

import re
from typing import Any

import myst_nb.core.render as myst_render
from sphinx.application import Sphinx

_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n])")


def joined(outputs: list[Any]) -> list[Any]:
    """One output for each stream, at the place of its first piece; standard output comes first."""
    result: list[Any] = []
    streams: dict[str, Any] = {}
    for output in outputs:
        if output["output_type"] != "stream":
            result.append(output)
        elif output["name"] in streams:
            streams[output["name"]]["text"] += output["text"]
        else:
            streams[output["name"]] = output
            result.append(output)
    for stream in streams.values():
        text = _OVERWRITTEN.sub("", stream["text"]).rstrip()
        stream["text"] = f"{text}\n" if text else ""
    result = [o for o in result if o["output_type"] != "stream" or o["text"]]
    for position in range(len(result) - 1):
        first, second = result[position : position + 2]
        if [o.get("name") for o in (first, second)] == ["stderr", "stdout"]:
            result[position : position + 2] = [second, first]
    return result


def setup(app: Sphinx) -> dict[str, object]:
    """Put our joining in the place of MyST-NB's."""
    if not hasattr(myst_render, "coalesce_streams"):
        raise RuntimeError("this MyST-NB joins streams elsewhere; see book/_ext/streams.py")
    myst_render.coalesce_streams = joined
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
