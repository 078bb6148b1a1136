"""What the bank refuses, and how it says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from capstone.errors import CapstoneError
from capstone.loop import catalogue, scenarios, symptoms

SAMPLE = Path(__file__).with_name("bank")
ROOT = Path(__file__).resolve().parents[3]


def edited(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """A sample file with its first occurrence of `old` replaced."""
    text = (SAMPLE / name).read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / name
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_samples_are_read() -> None:
    design = scenarios.read(SAMPLE / "scenarios.toml")[0]
    assert design.rows == (1, 6)
    assert "cache of one token" in design.prompt
    assert [value.shown.split()[-1] for value in design.demand.values] == ["KiB", "device"]
    assert design.knobs == ("--max-num-batched-tokens", "--max-num-seqs")
    tree = dict(symptoms.read(SAMPLE / "symptoms.toml")[0].listed)["A tree"]
    assert sum(line.lstrip().startswith("?") for line in tree) == 2
    assert sum("→" in line for line in tree) == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "sample-design-1"', 'id = "Sample 1"', "lower case"),
        ('id = "sample-design-1"', 'id = "sample-design-2"', "twice"),
        ("minutes = 40", "minutes = 400", "expected 5 to 180"),
        ("minutes = 40", "minuts = 40", "lacks `minutes`"),
        ("minutes = 40", "minutes = 40\nhours = 1", "unknown keys hours"),
        ("competencies = [1, 6]", "competencies = [9]", "expected rows 1 to 8"),
        ("competencies = [1, 6]", "competencies = []", "expected rows 1 to 8"),
        ('flag = "--max-num-seqs"', 'flag = "max-num-seqs"', "two dashes"),
        ("llama3-8b-kv-bytes-per-token in KiB", "llama3-kv", "no quantity is named"),
        ('unit = "device"', 'unit = "furlong"', "no unit is called"),
        ('risks = ["A burst of long prompts.", "A lost node."]', "risks = []", "2 or more"),
        ("mechanism = '''One", "mechanism = '''", ""),
        ("[[scenario]]", "[[scenario", "not TOML"),
    ],
)
def test_a_scenario_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = edited(tmp_path, "scenarios.toml", old, new)
    if not said:
        assert scenarios.read(path)
        return
    with pytest.raises(CapstoneError, match=r"scenarios\.toml") as caught:
        scenarios.read(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("`vllm:inter_token_latency_seconds`", "the latency", "neither an anchor nor a metric"),
        ('go = "preempted"', 'go = "nowhere"', "no check of this symptom"),
        ('go = "preempted"', 'go = "which"', "led to twice"),
        ('go = "preempted"', 'finding = "x"\nremedy = "y"', "no branch leads to"),
        ('go = "preempted"', 'go = "preempted"\nfinding = "x"', "either `go` or `finding`"),
        ('remedy = "A smaller budget."', "", "lacks `remedy`"),
        ('id = "preempted"', 'id = "which"', "same id"),
        ('id = "busy"', 'id = "which"', "same id"),
        ("cost = 1\n", "", "lacks `cost`"),
        ("cost = 1\n", "cost = 4\n", "expected 1 to 3"),
        ("cost = 1\n", "cost = 3\n", "check 'preempted' costs less than the one above"),
        ("here = true\n", "", "stands in 0 findings"),
        ('when = "both"\n', 'when = "both"\nhere = true\n', "stands in 2 findings"),
        ("here = true\n", "here = 1\n", "expected true or false"),
        ("[[symptom.tempting]]", "[[symptom.tempted]]", "2 or more"),
        ('why = "Everything is new then."', "", "lacks `why`"),
        ("p01-preempt-debt", "p01-preempted-debt", "no quantity is named"),
    ],
)
def test_a_symptom_is_refused_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = edited(tmp_path, "symptoms.toml", old, new)
    with pytest.raises(CapstoneError, match=r"symptoms\.toml, symptom 1") as caught:
        symptoms.read(path)
    assert said in str(caught.value)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "symptoms.toml"
    path.write_text("[[sympton]]\nid = 'x'\n", encoding="utf-8")
    with pytest.raises(CapstoneError, match=r"symptoms\.toml: lacks `symptom`"):
        symptoms.read(path)


def test_a_question_is_refused_with_its_file_and_id(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    shutil.copytree(SAMPLE, folder)
    path = folder / "phase-05.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("within 2 %", "nearly"), encoding="utf-8")
    with pytest.raises(CapstoneError, match=r"phase-05\.md: sample-5-first: check"):
        catalogue.load(ROOT, folder)
    path.write_text(text.replace("sample-5-first", "sample-4-first"), encoding="utf-8")
    with pytest.raises(CapstoneError, match="sample-4-first is asked twice"):
        catalogue.load(ROOT, folder)
    path.write_text(text, encoding="utf-8")
    # Of a phase that is not written: the questions of a written one stand on its own page.
    (folder / "phase-06.md").unlink()
    with pytest.raises(CapstoneError, match=r"phase-06\.md: no such file"):
        catalogue.load(ROOT, folder)
