r"""The mutants: what is broken and how, that tests kill them, and that a weak test is found out."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest
from labkit import maintain
from labkit.bench import on_bench
from labkit.catalogue import LabError
from labkit.implementation import Implementation
from labkit.mutation import fingerprint, operators, plausible, record, trial


def of(body: str) -> set[str]:
    r"""The names of the mutants of one function, without the function's name."""
    lines = "\n".join(f"    {line}" for line in dedent(body).strip().splitlines())
    source = (
        'def f(a, b):\n    """D."""\n    # lab: begin task 1 "t"\n' + lines + "\n    # lab: end\n"
    )
    made = operators.mutants(source)
    assert len({m.id for m in made}) == len(made)
    return {m.id.removeprefix("f: ") for m in made}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return a < b", {"a < b → a <= b", "a < b → a >= b", "return a < b → return None"}),
        ("a += b\nreturn a", {"a += b → a -= b", "a += b → nothing"}),
        ("return a - 1", {"a - 1 → a + 1", "1 → 2", "1 → 0"}),
        ("return a[1:b]", {"1:b → :b", "1:b → 1:", "1:b → 1:b + 1", "1:b → 1:b - 1", "1 → 2"}),
        ("return a and b", {"a and b → a or b", "a and b → a", "a and b → b"}),
        ("return not a", {"not a → a"}),
        ("return g(a, b)", {"g(a, b) → g(b, a)"}),
        ("return max(a)", {"max(a) → min(a)"}),
        ("return sorted(a, key=b)", {"sorted(a, key=b) → list(a)"}),
        ("return [x for x in a if x]", {"for x in a if x → for x in a"}),
        ("return a if b else 0", {"a if b else 0 → a", "a if b else 0 → 0"}),
        ("while a:\n    break", {"break → continue", "break → nothing"}),
        ("if a:\n    raise ValueError('no')", {"raise ValueError('no') → nothing"}),
        ("return True", {"True → False"}),
        ("return a['k']", {"'k' → 'k~'"}),
    ],
)
def test_what_the_operators_make(body, expected):
    made = of(body)
    assert expected <= made, made


def test_no_mutant_is_the_same_by_construction():
    assert "max(a, b) → max(b, a)" not in of("return max(a, b)")


def test_nothing_outside_the_regions_is_broken_and_no_message_is():
    source = dedent('''
        LIMIT = 3

        def f(a):
            r"""Doc 1."""
            given = a + 1
            # lab: begin task 1 "t"
            if a:
                raise ValueError(f"{a} is over {LIMIT + 1}")
            b: int = 4
            return f"{given} of 5"
            # lab: end
    ''')
    ids = [mutant.id for mutant in operators.mutants(source)]
    assert not [id for id in ids if "a + 1" in id or "3 →" in id or "LIMIT + 1 →" in id]
    assert {"f: 4 → 5", "f: 4 → 3"} <= set(ids)


def test_a_mutant_keeps_its_name_when_the_file_above_it_changes(toy):
    source = toy.lab.solution.read_text(encoding="utf-8")
    moved = source.replace("import math", "import math\n\nCONSTANT = 1")
    assert [m.id for m in operators.mutants(source)] == [m.id for m in operators.mutants(moved)]


def test_all_mutants_of_the_toy_die(toy):
    outcome = on_bench(toy.lab, trial.everything)
    assert outcome.problems() == []
    assert len(outcome.generic) > 8
    assert outcome.plausible["excludes-the-limit"].startswith("test_total")


def test_a_weak_test_lets_mutants_live_and_is_found_out(toy):
    toy.edit("test_lab.py", "(0, 0), (2, 3), (3, 6)", "(9, 6)")
    toy.edit("test_lab.py", "impl.total([4], 4)", "impl.total([4], 5)")
    outcome = on_bench(toy.lab, trial.everything)
    found = "\n".join(outcome.problems())
    assert "plausible mistake survives: ignores-the-limit" in found
    assert "die, 95% must: total: number <= limit → number < limit" in found


def test_a_mutant_that_never_ends_is_dead(toy):
    toy.edit("solution.py", "    for number in numbers:\n", "    while numbers:\n")
    toy.edit(
        "solution.py",
        "if number <= limit:",
        "number, *numbers = numbers\n        if number <= limit:",
    )
    made = operators.mutants(toy.lab.solution.read_text(encoding="utf-8"))
    [endless] = [m for m in made if m.id == "total: number, *numbers = numbers → nothing"]
    hang = Implementation("hang", endless.code)
    [verdict, *_] = on_bench(toy.lab, lambda bench: bench.run(hang, ["test_both"]), seconds=0.2)
    assert verdict.outcome == "failed"


def test_a_mutant_that_is_stopped_at_a_jump_without_a_line_is_dead(toy):
    r"""Between a condition that fails and the next turn stands a jump that belongs to no line."""
    endless = compile(
        "import itertools\n"
        "def total(numbers, limit):\n"
        "    for number in itertools.repeat(limit + 1):\n"
        "        if number <= limit:\n"
        "            limit -= 1\n",
        "<mutant>",
        "exec",
    )
    hang = Implementation("hang", endless)
    [verdict] = on_bench(toy.lab, lambda bench: bench.run(hang, ["test_total[0-0]"]), seconds=0.2)
    assert verdict.outcome == "failed"
    assert verdict.error[0] == "TimeLimitExceeded"


#: Empties what it is given.
WRONG_AND_GREEDY = Implementation(
    "greedy",
    "def double(n):\n    return 2 * n\n"
    "def total(numbers, limit):\n    numbers.clear()\n    return -1\n",
)


def test_a_case_that_one_implementation_spoils_is_whole_for_the_next(toy):
    toy.edit("test_lab.py", '"limit, expected", [(0, 0), (2, 3), (3, 6)]', '"numbers", [[1, 2]]')
    toy.edit(
        "test_lab.py", "def test_total(impl, limit, expected)", "def test_total(impl, numbers)"
    )
    toy.edit(
        "test_lab.py", "impl.total([1, 2, 3], limit) == expected", "impl.total(numbers, 9) == 3"
    )

    def greedy_first(bench):
        return [
            bench.run(which)[2].outcome for which in (WRONG_AND_GREEDY, Implementation("solution"))
        ]

    assert on_bench(toy.lab, greedy_first) == ["failed", "passed"]


def test_what_a_mutant_spoils_for_good_is_told(toy):
    toy.edit(
        "test_lab.py",
        "impl.total([1, 2, 3], limit) == expected",
        "impl.total(SHARED, limit) == expected",
    )
    toy.edit("test_lab.py", "import pytest\n", "import pytest\n\nSHARED = [1, 2, 3]\n")
    toy.edit("mutants/plausible.toml", "if True:", "if not numbers.clear():")
    with pytest.raises(
        LabError, match=r"spoiled what \['test_total\[2-3\]', 'test_total\[3-6\]'\]"
    ):
        on_bench(toy.lab, trial.everything)


def test_an_equivalent_mutant_needs_a_proof_that_holds(toy):
    def excuse(id: str, proof: str) -> list[str]:
        text = f"[[equivalent]]\nid = {json.dumps(id)}\nproof = {json.dumps(proof)}\n"
        path = toy.folder / "mutants" / "equivalent.toml"
        path.write_text(text, encoding="utf-8")
        return on_bench(toy.lab, trial.everything).problems()

    assert "test_total[0-0] kills it" in "\n".join(
        excuse("total: number <= limit → number > limit", "It is the same.")
    )
    assert "no operator makes it" in "\n".join(excuse("total: gone", "It was the same once."))
    with pytest.raises(LabError, match="no proof"):
        excuse("total: number <= limit → number < limit", " ")


@pytest.mark.parametrize(
    ("find", "message"),
    [
        ("return number * 4", "occurs 0 times"),
        ("return", "occurs 2 times"),
        ("import math", "in no marked region"),
    ],
)
def test_a_mistake_that_no_longer_applies_is_refused(toy, find, message):
    toy.edit("mutants/plausible.toml", 'slug = "squares"', 'slug = "odd"')
    path = toy.folder / "mutants" / "plausible.toml"
    head, tail = path.read_text(encoding="utf-8").split('slug = "odd"')
    tail = tail.replace("return number * 2", find, 1)
    path.write_text(f'{head}slug = "odd"{tail}', encoding="utf-8")
    with pytest.raises(LabError, match=f"'odd'.*{message}"):
        plausible.mutants(toy.lab)


def test_a_mistake_may_span_lines_and_keeps_the_indentation(toy):
    path = toy.folder / "mutants" / "plausible.toml"
    path.write_text(
        dedent('''
        [[mistake]]
        slug = "stops-early"
        because = "The first one over the limit ends it."
        find = """
        if number <= limit:
            result += number
        """
        replace = """
        if number > limit:
            break
        result += number
        """
        '''),
        encoding="utf-8",
    )
    [mutant] = plausible.mutants(toy.lab)
    namespace: dict = {}
    exec(mutant.code, namespace)
    assert namespace["total"]([1, 9, 1], 5) == 1


def test_the_record_goes_stale_with_what_it_was_made_from(toy):
    assert maintain.main(["mutants", "--write"], root=toy.root) == 0
    assert record.is_fresh(toy.lab)
    assert maintain.main(["mutants", "--changed", "--sample", "4"], root=toy.root) == 0
    toy.edit("test_lab.py", "assert impl.double(0) == 0", "assert impl.double(0) == 0 * 1")
    assert not record.is_fresh(toy.lab)
    assert maintain.main(["mutants", "--changed"], root=toy.root) == 1


LABKIT = {
    "__init__.py": 'r"""The machinery."""\n',
    "engines.py": "BUDGET = 64\n",
    "workloads.py": "from labkit import engines\n\nSEATS = engines.BUDGET // 8\n",
    "simulator.py": 'r"""Kernels."""\n\n\ndef load(place):\n    r"""Read."""\n    return place\n',
    "state.py": "KEPT = True\n",
}


@pytest.fixture
def own_labkit(tmp_path, monkeypatch):
    r"""The folder of a package called `labkit`, which nobody imports but fingerprints look at."""
    folder = tmp_path / "elsewhere" / "labkit"
    folder.mkdir(parents=True)
    for name, text in LABKIT.items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(fingerprint, "LABKIT", folder)
    return folder


@pytest.mark.parametrize(
    ("file", "line", "module"),
    [
        ("test_lab.py", "from labkit.engines import BUDGET", "engines.py"),
        ("test_lab.py", "from labkit import engines", "engines.py"),
        ("test_lab.py", "from labkit.workloads import SEATS", "engines.py"),
        ("test_lab.py", "import labkit.simulator", "simulator.py"),
        ("solution.py", "if True:\n    from labkit.simulator import load", "simulator.py"),
        ("test_lab.py", "from labkit.engines import BUDGET", "__init__.py"),
    ],
)
def test_the_record_goes_stale_with_what_the_lab_imports_from_here(
    toy, own_labkit, file, line, module
):
    toy.edit(file, "import pytest" if file == "test_lab.py" else "import math", line)
    before = fingerprint.of(toy.lab)
    path = own_labkit / module
    path.write_text(path.read_text(encoding="utf-8") + "CHANGED = 1\n", encoding="utf-8")
    after = fingerprint.of(toy.lab)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {f"labkit/{module}"}


def test_the_record_stays_fresh_whatever_else_changes_here(toy, own_labkit):
    toy.edit("test_lab.py", "import pytest", "import pytest\nfrom labkit import simulator")
    before = fingerprint.of(toy.lab)
    (own_labkit / "state.py").write_text("KEPT = False\n", encoding="utf-8")
    told = LABKIT["simulator.py"].replace("Kernels.", "A kernel\nlanguage.")
    told = told.replace("Read.", "What stands at a place.")
    (own_labkit / "simulator.py").write_text(told, encoding="utf-8")
    assert fingerprint.of(toy.lab) == before
    assert "labkit/simulator.py" in before


def test_a_fresh_record_that_does_not_hold_is_found(toy, capsys):
    maintain.main(["mutants", "--write"], root=toy.root)
    toy.edit("test_lab.py", "(0, 0), (2, 3), (3, 6)", "(9, 6)")
    path = toy.folder / "mutants" / record.NAME
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(data | {"hashes": fingerprint.of(toy.lab)}), encoding="utf-8")
    capsys.readouterr()
    assert maintain.main(["mutants", "--changed", "--sample", "99"], root=toy.root) == 1
    assert "recorded as killed, but survives: ignores-the-limit" in capsys.readouterr().out


def test_a_record_below_the_bar_is_refused_however_fresh(toy):
    maintain.main(["mutants", "--write"], root=toy.root)
    path = toy.folder / "mutants" / record.NAME
    data = json.loads(path.read_text(encoding="utf-8"))
    data["generic"]["killed"] -= 3
    path.write_text(json.dumps(data), encoding="utf-8")
    assert "generic mutants die" in record.problems(toy.lab)[0]


def test_the_sample_rotates_with_the_commit(toy):
    maintain.main(["mutants", "--write"], root=toy.root)
    toy.git("init", "-q")
    drawn = set()
    for number in range(4):
        toy.git("commit", "-q", "--allow-empty", "-m", f"Commit {number}")
        first = record.draw(toy.lab, 3)
        assert first == record.draw(toy.lab, 3)
        drawn.add(tuple(first))
    assert len(drawn) > 1
