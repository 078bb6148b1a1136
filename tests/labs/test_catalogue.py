r"""Names of labs: what they mean, and what is said of a name that means nothing."""

from __future__ import annotations

import shutil

import pytest
from labkit.catalogue import Catalogue, LabError


@pytest.fixture
def two_phases(toy):
    for phase, name in (("phase-07-toys", "lab-02-sort"), ("phase-08-games", "lab-01-chess")):
        folder = toy.root / "labs" / phase / name
        folder.mkdir(parents=True)
        text = (toy.folder / "lab.toml").read_text(encoding="utf-8")
        (folder / "lab.toml").write_text(text, encoding="utf-8")
    return Catalogue(toy.root)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("lab-02", "lab-02-sort"),
        ("02", "lab-02-sort"),
        ("2", "lab-02-sort"),
        ("lab-01-chess", "lab-01-chess"),
        ("phase-08/lab-01", "lab-01-chess"),
        ("phase-08-games/1", "lab-01-chess"),
        ("labs/phase-07-toys/lab-01-count/", "lab-01-count"),
    ],
)
def test_what_a_name_means(two_phases, name, found):
    assert two_phases.find(name).name == found


def test_a_path_means_the_lab_that_lies_there(two_phases, tmp_path):
    r"""A reader with two copies names a folder of one: no lab of the other is taken for it."""
    lab = two_phases.find("lab-02-sort")
    assert two_phases.find(str(lab.folder)) is lab
    there = tmp_path / "copy" / lab.folder.relative_to(two_phases.root)
    shutil.copytree(lab.folder, there)
    (there / "mutants").mkdir()
    for ask in (
        lambda: two_phases.find(f"{there}/"),
        lambda: two_phases.holding(there / "mutants"),
    ):
        with pytest.raises(LabError) as refused:
            ask()
        assert str(there) in str(refused.value)
        assert str(two_phases.root) in str(refused.value)
    assert two_phases.holding(lab.folder / "mutants") is lab
    assert two_phases.holding(two_phases.root / "labs") is None


def test_labs_are_in_reading_order(two_phases):
    assert [lab.name for lab in two_phases.labs] == ["lab-01-count", "lab-02-sort", "lab-01-chess"]


def test_an_unknown_name_lists_the_nearest(two_phases):
    with pytest.raises(LabError, match=r"nearest: .*lab-02-sort"):
        two_phases.find("lab-03-sort")


def test_an_ambiguous_name_lists_its_meanings(two_phases):
    with pytest.raises(LabError, match="phase-07/lab-01, phase-08/lab-01"):
        two_phases.find("lab-01")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('tag = "CPU-OK"', 'tag = "CPU"', "tag 'CPU' is none of CPU-OK, GPU-OPT, GPU-REQ"),
        ("competency = 1", "competency = 9", "competency 9"),
        ("minutes = 7", "minuets = 7", "unknown keys"),
        ('unit = "number"', 'units = "number"', "units"),
        ("minutes = 7", "minutes 7", "lab.toml"),
        ('title = "Counting, by hand"', "", "title"),
    ],
)
def test_a_lab_that_says_something_impossible_is_refused(toy, before, after, message):
    toy.edit("lab.toml", before, after)
    with pytest.raises(LabError, match=message):
        Catalogue(toy.root)


def test_the_project_has_no_lab_folder_without_a_lab():
    root = Catalogue().root
    folders = {path.parent for path in root.glob("labs/phase-*/lab-*/README.md")}
    assert folders == {lab.folder for lab in Catalogue(root).labs}
