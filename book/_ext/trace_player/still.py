r"""The trace as it stands on paper: what is read where no script runs, in print, and by machines.

Three things, all plain HTML: a table of requests by steps, a table of blocks by steps, and every
step in words. The script of the page builds the moving picture from the data beside them, and
keeps the first table as its time line.
"""

from __future__ import annotations

from html import escape

from book._ext.trace_player.legend import legend
from book.traces.recording import STATUSES, Frame, Lane, Recording

PANELS = ("requests", "budget", "blocks", "queue")
COLOURS = ("blue", "orange", "green", "purple", "teal", "gold")
MANY = 12  # steps, from which on a narrow screen shows only some of their numbers
_WAITING, _RUNNING, _PREEMPTED = STATUSES[1:4]


def player(
    recording: Recording,
    element_id: str,
    panels: tuple[str, ...],
    start: int,
    *,
    compact: bool = False,
    plays: int = 0,
) -> str:
    """The whole element: static picture, legend, words, and the data for the script."""
    name = escape(recording.name)
    label = escape(f"Trace: {recording.title}", quote=True)
    css = "trace-player tp-compact" if compact else "trace-player"
    by_itself = f'data-plays="{plays}" ' if plays else ""
    parts = [
        f'<div class="{css}" id="{element_id}" data-trace="{name}" data-start="{start}" {by_itself}'
        f'data-show="{" ".join(panels)}" role="group" aria-label="{label}">',
        '<div class="tp-still">',
        *(_lane(lane, recording, panels) for lane in recording.lanes),
        "</div>",
        legend(recording, panels),
        _words(recording, panels),
        f'<script type="application/json" class="tp-data">{recording.to_json()}</script>',
        "</div>",
    ]
    return "\n".join(parts)


def _lane(lane: Lane, recording: Recording, panels: tuple[str, ...]) -> str:
    title = f'<p class="tp-lane-title">{escape(lane.label)}</p>' if lane.label else ""
    tables = _grid(lane, recording.num_steps)
    if "blocks" in panels:
        tables += _map(lane, recording.num_steps)
    return f'<div class="tp-lane-still">{title}{tables}</div>'


def _head(num_steps: int) -> str:
    cells = "".join(f'<th scope="col" data-step="{i}">{i}</th>' for i in range(1, num_steps + 1))
    return f'<thead><tr><th scope="row">step</th>{cells}</tr></thead>'


def _grid(lane: Lane, num_steps: int) -> str:
    """Requests by steps: how many tokens each was given."""
    rows = []
    for place, plan in enumerate(lane.requests):
        cells = []
        for step in range(1, num_steps + 1):
            css, text = _grid_cell(lane, place, step)
            kind = f' class="{css}"' if css else ""
            cells.append(f'<td{kind} data-step="{step}">{text}</td>')
        rows.append(
            f'<tr class="tp-{COLOURS[place % len(COLOURS)]}">'
            f'<th scope="row">{escape(plan.name)}</th>{"".join(cells)}</tr>'
        )
    many = " tp-many" if num_steps > MANY else ""
    return (
        f'<div class="tp-scroll"><table class="tp-grid{many}" style="--steps:{num_steps}">'
        "<caption>Tokens computed for each request, by step</caption>"
        f"{_head(num_steps)}<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _grid_cell(lane: Lane, place: int, step: int) -> tuple[str, str]:
    """Class and text of a cell: a count, `·` for who waits, `×` for a victim, nothing otherwise."""
    if step > lane.num_steps:
        return "", ""
    request, plan = lane.frames[step].requests[place], lane.requests[place]
    status = STATUSES[request.status]
    if request.scheduled:
        decode = request.scheduled == 1 and request.before >= plan.prompt
        ends = " tp-end" if status == "finished" else ""
        return (
            f"{'tp-decode' if decode else 'tp-prompt'}{ends}",
            f"<span>{request.scheduled}</span>",
        )
    if status == _PREEMPTED:
        was_running = STATUSES[lane.frames[step - 1].requests[place].status] == _RUNNING
        return ("tp-victim", "×") if was_running else ("tp-wait", "·")
    return ("tp-wait", "·") if status == _WAITING else ("", "")


def _map(lane: Lane, num_steps: int) -> str:
    """Blocks by steps: who holds each, or, in small letters, whose tokens a free one still has."""
    rows = []
    for block in range(1, lane.num_blocks):
        cells = []
        for step in range(1, num_steps + 1):
            css, text = "", ""
            if step <= lane.num_steps:
                css, text = _map_cell(lane, lane.frames[step], block)
            kind = f' class="{css}"' if css else ""
            cells.append(f"<td{kind}>{text}</td>")
        rows.append(f'<tr><th scope="row">{block}</th>{"".join(cells)}</tr>')
    many = " tp-many" if num_steps > MANY else ""
    return (
        f'<div class="tp-scroll"><table class="tp-map{many}" style="--steps:{num_steps}">'
        "<caption>Who holds each block after each step; small letters: free, and still holding "
        "what that request computed</caption>"
        f"{_head(num_steps)}<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _map_cell(lane: Lane, frame: Frame, block: int) -> tuple[str, str]:
    holders = holders_of(lane, frame, block)
    if holders:
        colour = COLOURS[lane.requests.index(holders[0]) % len(COLOURS)]
        return f"tp-held tp-{colour}", escape("".join(plan.name for plan in holders))
    name = frame.names[block]
    return ("tp-cached", escape(lane.requests[name[0]].name.lower())) if name else ("", "")


def holders_of(lane: Lane, frame: Frame, block: int) -> list:
    """The requests whose block tables have `block`, in the order of the requests."""
    pairs = zip(lane.requests, frame.requests, strict=True)
    return [plan for plan, request in pairs if block in request.blocks]


def _words(recording: Recording, panels: tuple[str, ...]) -> str:
    items = []
    for step in range(recording.num_steps + 1):
        texts = []
        for lane in recording.lanes:
            if step >= len(lane.frames):
                continue
            frame = lane.frames[step]
            who = f"<em>{escape(lane.label)}.</em> " if lane.label else ""
            state = f' <span class="tp-state">{_state(lane, frame, panels)}</span>'
            sentence = frame.sentence(memory="blocks" in panels or "queue" in panels)
            texts.append(f"<p>{who}{escape(sentence)}{state}</p>")
        items.append(f'<li value="{step}">{"".join(texts)}</li>')
    return (
        '<details class="tp-words"><summary>Every step in words</summary>'
        f'<ol start="0">{"".join(items)}</ol></details>'
    )


def _state(lane: Lane, frame: Frame, panels: tuple[str, ...]) -> str:
    """The counters, the block tables and the queue of a frame, in one line."""
    parts = []
    if frame.step and "budget" in panels:
        parts.append(f"Budget: {frame.scheduled} of {lane.budget}.")
    if "blocks" in panels:
        held = [
            f"{plan.name} holds {' '.join(map(str, request.blocks))}"
            for plan, request in zip(lane.requests, frame.requests, strict=True)
            if request.blocks
        ]
        parts.append(f"{'; '.join(held)}." if held else "Nobody holds a block.")
    if "queue" in panels:
        parts.append(f"Free queue: {' '.join(map(str, frame.queue)) or 'empty'}.")
    return escape(" ".join(parts))
