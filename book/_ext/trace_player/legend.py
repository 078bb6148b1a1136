r"""What must be said before somebody who has never seen a block table can read the picture."""

from __future__ import annotations

from book.traces.recording import Recording


def legend(recording: Recording, panels: tuple[str, ...]) -> str:
    """A fold with the signs of the panels that are shown, and with nothing about the others."""
    size = recording.lanes[0].block_size
    items = "".join(
        f"<div{_where(needs, sign)}><dt>{sign}</dt><dd>{text.format(size=size)}</dd></div>"
        for needs, sign, text in _ROWS
        if all(panel in panels for panel in needs)
    )
    return (
        f'<details class="tp-legend"><summary>How to read this</summary><dl>{items}</dl></details>'
    )


def _where(needs: tuple[str, ...], sign: str) -> str:
    """On paper there are tables and no keys: the rows of requests are drawn by the script alone."""
    return ' class="only-screen"' if "requests" in needs or "<kbd>" in sign else ""


def _cells(*kinds: str) -> str:
    """A prompt's and an answer's token of each kind."""
    cells = "".join(f'<i class="{kind}"></i><i class="{kind} tp-a"></i>' for kind in kinds)
    return f'<span class="tp-cells tp-blue">{cells}</span>'


#: Panels that must be shown, sign, words. Sentences that stand alone: a reader looks up one sign.
_ROWS = (
    (
        ("requests",),
        _cells("tp-c", "tp-n"),
        "One token each. Pale: computed in an earlier step. Strong: computed in this step. "
        "Square: a token of the prompt. Round: a token of the answer.",
    ),
    (
        ("requests",),
        _cells("tp-u"),
        "A token whose keys and values are not computed yet. One that was just drawn is such a "
        "token: the next step computes it. The last token of an answer never is computed.",
    ),
    (
        ("requests", "blocks"),
        _cells("tp-h"),
        "Found in the cache when the request was admitted, so this step did not compute it.",
    ),
    (
        ("requests", "blocks"),
        '<span class="tp-cells"><i class="tp-s"></i></span>',
        "A slot that the request holds and does not use yet.",
    ),
    (
        ("requests", "blocks"),
        '<b class="tp-id">5</b>',
        "Above each {size} tokens: the block of the device's memory in which they lie. Read from "
        "the left, a request's numbers are its <em>block table</em>. They need not be neighbours, "
        "since the table says where to look.",
    ),
    (
        ("budget",),
        '<b class="tp-id">7 / 10</b>',
        "How many tokens the step computes for all requests together, and how many it may: "
        "<code>max_num_batched_tokens</code>. The number of seats is how many requests may run at "
        "once: <code>max_num_seqs</code>.",
    ),
    (
        ("blocks",),
        '<i class="tp-mini tp-held tp-blue">A</i>',
        "A block that a request holds, with the tokens that lie in it, counted from 0. Two "
        "letters: two requests hold it, and its count of holders, <code>ref_cnt</code>, is 2.",
    ),
    (
        ("blocks",),
        '<i class="tp-mini tp-cached">a</i>',
        "A free block that still has what A computed. Somebody with the same beginning can find "
        "it. Somebody who needs memory overwrites it, which is called eviction.",
    ),
    (
        ("blocks",),
        '<i class="tp-mini"></i>',
        "A free block with nothing in it that could be found. Block 0 is missing on purpose: it "
        "is never handed out.",
    ),
    (
        ("blocks",),
        '<b class="tp-id">new</b>',
        "What became of a block in this step. <em>New</em>: handed out. <em>Evicted</em>: handed "
        "out, and what it held is lost. <em>Hit</em>: found by a request with the same beginning. "
        "<em>Freed</em>: given back by its last holder.",
    ),
    (
        ("queue",),
        '<b class="tp-id">3 → 7</b>',
        "The free blocks, in the order in which they are handed out. A request gives its blocks "
        "back last first, so that its beginning, which others may share, is overwritten last.",
    ),
    (
        (),
        '<b class="tp-id">9</b>',
        "In the table of steps: how many of the request's tokens the step computes. Square: its "
        "prompt is read. Round: it decodes. Bar at the right: it ends here. · waits, × must give "
        "way.",
    ),
    (
        (),
        "<kbd>←</kbd> <kbd>→</kbd>",
        "One step back or forward; <kbd>space</kbd> plays and pauses, <kbd>Home</kbd> and "
        "<kbd>End</kbd> go to the first and the last. The sign # is a link to the step you see.",
    ),
)
