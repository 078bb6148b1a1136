r"""The symptom catalog: `bank/symptoms.toml`.

```toml
[[symptom]]
id = "answers-stall"
title = "Answers stall for a second"
says = "A user: the answer stops in the middle of a sentence, then goes on as if nothing had been."
minutes = 12
competencies = [5]                # rows of the competency map
shows = '''Markdown: where it can be seen, with at least one anchor or metric: a log line of the
pinned tree (the role `up` with `log:"…"`), a metric (`vllm:…` or `mini_vllm:…`) in backticks.'''

[[symptom.check]]                 # the first one is the root of the tree; in order of cost
id = "which-percentile"
cost = 1                          # 1 a look, 2 a comparison, 3 an experiment; none below costs less
ask = "Does TTFT move, or only the gaps between tokens?"
look = "Markdown: the metric, log line or command that answers it"
[[symptom.check.branch]]          # at least two branches
when = "only the gaps"
go = "chunks-or-preemption"       # another check of this symptom ...
[[symptom.check.branch]]
when = "both"
finding = "The queue is full."    # ... or a finding, with its remedy: an end of the tree
remedy = "More seats, if memory allows; else more replicas."
here = true                       # in one finding: the case, which the model answer is about

[[symptom.tempting]]              # at least two: what is often done, and decides nothing here
id = "utilization"
cost = 1
ask = "Is the device busy?"
look = "its own utilization"
shows = "100%."                   # what one sees
why = "It is, in each of these cases."

[symptom.answer]                  # the model answer, as of a question
mechanism = '''…'''
arithmetic = '''… quantities of the registry; a `% check:` line may name those that must be met.'''
consequence = '''…'''
```

The checks of a symptom form one tree: each but the first is the `go` of exactly one branch. How it
is walked: {py:mod}`capstone.loop.walk`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from capstone.loop.data import Table, entries
from capstone.loop.item import WALK, Item
from capstone.loop.tree import COSTS, Branch, Check, Tempting, Tree, drawn

PARTS = (
    # In a transcript of version 1 this part was typed, like the others.
    (WALK, "Your tree: the checks, cheapest first, and what each outcome tells you"),
    ("arithmetic", "The numbers: what you expect to see, with units"),
    ("remedy", "Cause and mechanism, remedy, and what to watch afterwards"),
)
_ANCHOR = re.compile(r"\{up\}`|`(?:mini_)?vllm:\w+")


def read(path: Path) -> list[Item]:
    r"""All symptoms of a file, in order; {py:class}`.CapstoneError` says what is wrong with it."""
    return [_symptom(table, path) for table in entries(path, "symptom")]


def _symptom(table: Table, path: Path) -> Item:
    name = table.id()
    says, shows = table.text("says"), table.text("shows")
    if not _ANCHOR.search(shows):
        raise table.complain("`shows` names neither an anchor nor a metric (`vllm:…`)")
    checks = [_check(check) for check in table.tables("check")]
    tempting = [_tempting(one) for one in table.tables("tempting", least=2)]
    _one_tree(table, checks)
    _costs(table, checks)
    _case(table, checks)
    tree = Tree(tuple(checks), tuple(tempting))
    if len({one.id for one in tree.every}) != len(tree.every):
        raise table.complain("two checks have the same id")
    layers, wanted = table.answer()
    item = Item(
        id=name,
        session="debugging",
        title=table.text("title"),
        prompt=f"{says}\n\nWhat do you check, in which order, and what is the cause?",
        minutes=int(table.number("minutes", 1, 120)),
        rows=table.rows("competencies"),
        layers=layers,
        demand=wanted,
        source=f"labs/capstone/loop/bank/{path.name}",
        parts=PARTS,
        listed=(("Where it shows", (shows,)), ("A tree", tuple(drawn(tree)))),
        tree=tree,
    )
    table.done()
    return item


def _check(table: Table) -> Check:
    name = table.id()
    branches = tuple(_branch(branch) for branch in table.tables("branch", least=2))
    check = Check(name, table.text("ask"), table.text("look"), _cost(table), branches)
    table.done()
    return check


def _tempting(table: Table) -> Tempting:
    ask, look, shows, why = (table.text(key) for key in ("ask", "look", "shows", "why"))
    one = Tempting(table.id(), ask, look, _cost(table), shows, why)
    table.done()
    return one


def _cost(table: Table) -> int:
    return int(table.number("cost", min(COSTS), max(COSTS)))


def _branch(table: Table) -> Branch:
    when = table.text("when")
    if table.has("go") == table.has("finding"):
        raise table.complain("a branch has either `go` or `finding` with `remedy`")
    if table.has("go"):
        branch = Branch(when, go=table.text("go"))
    else:
        branch = Branch(when, finding=table.text("finding"), remedy=table.text("remedy"))
        if table.has("here"):
            branch = replace(branch, here=table.flag("here"))
    table.done()
    return branch


def _one_tree(table: Table, checks: list[Check]) -> None:
    names = [check.id for check in checks]
    if len(set(names)) != len(names):
        raise table.complain("two checks have the same id")
    targets = [branch.go for check in checks for branch in check.branches if branch.go]
    for target in targets:
        if target not in names:
            raise table.complain(f"`go` leads to {target!r}, which is no check of this symptom")
        if target == names[0] or targets.count(target) > 1:
            raise table.complain(f"check {target!r} is led to twice: a tree has one way to each")
    reached, waiting = set(), [names[0]]
    by_id = {check.id: check for check in checks}
    while waiting:
        here = waiting.pop()
        reached.add(here)
        waiting += [branch.go for branch in by_id[here].branches if branch.go]
    lost = sorted(set(names) - reached)
    if lost:
        raise table.complain(f"no branch leads to check {', '.join(lost)}")


def _costs(table: Table, checks: list[Check]) -> None:
    by_id = {check.id: check for check in checks}
    for check in checks:
        for branch in check.branches:
            if branch.go and by_id[branch.go].cost < check.cost:
                raise table.complain(f"check {branch.go!r} costs less than the one above it")


def _case(table: Table, checks: list[Check]) -> None:
    cases = sum(branch.here for check in checks for branch in check.branches)
    if cases != 1:
        raise table.complain(f"`here = true` stands in {cases} findings, expected 1")
