r"""Design scenarios: `bank/scenarios.toml`.

```toml
[[scenario]]
id = "chat-with-a-promise"
title = "A chat service with a promise on p99"
minutes = 40
competencies = [2, 3, 6]          # rows of the competency map; the score counts for each
brief = '''Markdown: who asks, the fleet, the load, the promise. Roles of the book may stand.'''
topology = [                      # what the answer must decide, a question each; at least two
    "How many replicas, and how is each one split over devices?",
    "Where does a request go when its prefix is somewhere?",
]
risks = [                         # what must be named; at least two
    "A burst of long prompts breaks the promise for everybody who decodes.",
    "One lost node takes a quarter of the capacity.",
]

[[scenario.knob]]                 # at least two; half of them must occur in the answer
flag = "--max-num-batched-tokens" # matched as it stands, or with _ for - and without the dashes
why = "Markdown with an anchor: what it decides here."

[[scenario.value]]                # shown arithmetic: at least two; all of them are looked for
name = "KV bytes of a token"      # asked for by this name
quantity = "llama3-8b-kv-bytes-per-token"   # `name` or `name in UNIT`, as in the book's role
tolerance = 0.05                  # optional

[[scenario.value]]
name = "devices of one replica"
value = 4                         # instead of `quantity`, for what is decided, not computed
unit = "devices"

[scenario.answer]                 # the model answer
mechanism = '''Topology and knobs, and why.'''
arithmetic = '''The sums, with the values above. Every number from the registry.'''
consequence = '''The risks, how each would show, and what is done about it.'''
```

All values must be reached: the answer is told their names in advance. Any `% check:` line of the
arithmetic layer is refused here, since the values say it.
"""

from __future__ import annotations

from pathlib import Path

from capstone.loop.checks import TOLERANCE, Demand, Value, literal, value_of
from capstone.loop.data import Table, entries
from capstone.loop.item import Item

PARTS = (
    ("topology", "Topology: what runs where, and why"),
    ("knobs", "Knobs: flags and values, with the reason"),
    ("arithmetic", "Shown arithmetic: each value by name, with its unit"),
    ("risks", "Risks: what breaks first, how it shows, what you do"),
)


def read(path: Path) -> list[Item]:
    r"""All scenarios of a file, in order; {py:class}`.CapstoneError` says what is wrong with it."""
    return [_scenario(table, path) for table in entries(path, "scenario")]


def _scenario(table: Table, path: Path) -> Item:
    name = table.id()
    brief = table.text("brief")
    topology = table.texts("topology", least=2)
    risks = table.texts("risks", least=2)
    knobs = [_knob(knob) for knob in table.tables("knob", least=2)]
    values = tuple(_value(value) for value in table.tables("value", least=2))
    layers, _ = table.answer()
    if "% check:" in layers["arithmetic"]:
        raise table.complain("`% check:` in the answer: a scenario's values are its checks")
    item = Item(
        id=name,
        session="design",
        title=table.text("title"),
        prompt=_prompt(brief, topology, values),
        minutes=int(table.number("minutes", 5, 180)),
        rows=table.rows("competencies"),
        layers=layers,
        demand=Demand(values, len(values)),
        source=f"labs/capstone/loop/bank/{path.name}",
        parts=PARTS,
        knobs=tuple(flag for flag, _ in knobs),
        listed=(
            ("Decisions", topology),
            ("Knobs", tuple(f"`{flag}`: {why}" for flag, why in knobs)),
            ("Risks", risks),
        ),
    )
    table.done()
    return item


def _prompt(brief: str, topology: tuple[str, ...], values: tuple[Value, ...]) -> str:
    decide = "\n".join(f"- {line}" for line in topology)
    show = "\n".join(f"- {value.name}" for value in values)
    return f"{brief}\n\nDecide:\n\n{decide}\n\nShow the arithmetic for:\n\n{show}"


def _knob(table: Table) -> tuple[str, str]:
    flag, why = table.text("flag"), table.text("why")
    if not flag.startswith("--"):
        raise table.complain(f"flag {flag!r} does not begin with two dashes")
    table.done()
    return flag, why


def _value(table: Table) -> Value:
    name = table.text("name")
    tolerance = table.number("tolerance", 0.0, 0.5, TOLERANCE)
    try:
        if table.has("quantity"):
            value = value_of(table.text("quantity"), tolerance, name)
        else:
            number = table.number("value", -1e30, 1e30)
            value = literal(name, number, table.text("unit", ""), tolerance)
    except ValueError as error:
        raise table.complain(str(error)) from error
    table.done()
    return value
