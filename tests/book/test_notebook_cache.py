"""A notebook runs again exactly when something that it depends on has changed."""

from __future__ import annotations

import re
import shutil

import pytest

NOTEBOOK = """\
---
file_format: mystnb
kernelspec: {name: python3, display_name: Python 3, language: python}
---
# Notebook %(name)s

```{code-cell} python
from %(module)s import %(symbol)s
print("it says", %(symbol)s)
```
"""
FIGURE = """\
---
file_format: mystnb
kernelspec: {name: python3, display_name: Python 3, language: python}
---
# Figure

```{code-cell} python
---
mystnb:
  image: {alt: "Two points and a line."}
---
from book.figures import palette, plt
fig, ax = plt.subplots()
ax.plot([0, 1], [0, 1], color=palette.blue)
ax.set_title("A line");
```
"""


def executed(log: str) -> set[str]:
    """Pages whose notebook ran in this build."""
    return set(re.findall(r"/(\w+)\.md: Executing notebook", log))


@pytest.fixture(scope="module")
def first_build(shared_site):
    """Two packages of ours (by name), one notebook on each, built once; a copy of all that."""
    site = shared_site
    for package, constant in (("mini_vllm", "LIMIT = 16"), ("labkit", "WEEKS = 4")):
        site.write(f"{package}/__init__.py", "")
        site.write(f"{package}/constants.py", f'r"""Some text."""\n\n{constant}\n')
    user = "from mini_vllm import constants\n\nTWICE = 2 * constants.LIMIT\n"
    site.write("mini_vllm/user.py", user)
    first = {"name": "1", "module": "mini_vllm.user", "symbol": "TWICE"}
    site.write("first.md", NOTEBOOK % first)
    second = {"name": "2", "module": "labkit.constants", "symbol": "WEEKS"}
    site.write("second.md", NOTEBOOK % second)
    site.write("index.md", "# Sample\n\n```{toctree}\nwoven\nquestions\nrest\nfirst\nsecond\n```\n")
    conf = (site.source / "conf.py").read_text()
    site.write("conf.py", conf.replace('"sample"]', '"sample", "mini_vllm", "labkit"]'))
    log = site.build()
    assert executed(log) == {"first", "second"}
    assert "it says 32" in site.page("first")
    kept = site.source.with_name("kept")
    shutil.copytree(site.source, kept)
    return site, kept


@pytest.fixture
def notebooks(first_build):
    """The same for each test, as it was after the first build: sources, their times, results."""
    site, kept = first_build
    shutil.rmtree(site.source)
    shutil.copytree(kept, site.source)
    return site


def edit(site, name: str, old: str, new: str) -> None:
    text = (site.source / name).read_text()
    assert old in text
    site.write(name, text.replace(old, new))


def test_a_docstring_or_comment_or_layout_runs_nothing(notebooks):
    edit(notebooks, "mini_vllm/constants.py", "Some text.", "Better text.")
    edit(notebooks, "mini_vllm/constants.py", "LIMIT = 16", "# a comment\nLIMIT  =  16")
    assert executed(notebooks.build()) == set()


def test_a_constant_runs_exactly_the_notebooks_that_reach_it(notebooks):
    edit(notebooks, "mini_vllm/constants.py", "16", "20")
    log = notebooks.build()
    assert executed(log) == {"first"}
    assert "because of mini_vllm.constants" in log
    assert "it says 40" in notebooks.page("first")


def test_going_back_runs_nothing_and_shows_the_old_result(notebooks):
    edit(notebooks, "mini_vllm/constants.py", "16", "20")
    notebooks.build()
    edit(notebooks, "mini_vllm/constants.py", "20", "16")
    assert executed(notebooks.build()) == set()
    assert "it says 32" in notebooks.page("first")


def test_prose_of_the_notebook_runs_nothing_and_a_cell_runs_it(notebooks):
    edit(notebooks, "first.md", "# Notebook 1", "# Notebook one")
    assert executed(notebooks.build()) == set()
    edit(notebooks, "first.md", "it says", "it shows")
    assert executed(notebooks.build()) == {"first"}


def test_a_failing_cell_fails_the_build_and_is_not_remembered(notebooks):
    edit(notebooks, "second.md", 'print("it says"', 'print(1 / 0, "it says"')
    log = notebooks.build(check=False)
    assert "ZeroDivisionError" in log
    assert "WARNING" in log
    edit(notebooks, "second.md", "1 / 0", "1 / 1")
    assert executed(notebooks.build()) == {"second"}


def test_a_figure_becomes_part_of_the_page_and_two_builds_are_equal(site, tmp_path):
    site.write("figure.md", FIGURE)
    site.write("index.md", "# Sample\n\n```{toctree}\nwoven\nquestions\nrest\nfigure\n```\n")
    site.build()
    page = site.page("figure")
    assert 'aria-label="Two points and a line."' in page
    assert "var(--fig-blue" in page
    assert "IBM Plex Sans" in page
    assert "<img" not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))

    before = snapshot(site.html)
    (site.source / "_build").rename(tmp_path / "first-build")
    site.build()
    after = snapshot(site.html)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []


def test_a_figure_without_words_fails_the_build(site):
    site.write("figure.md", FIGURE.replace('image: {alt: "Two points and a line."}', "image: {}"))
    site.write("index.md", "# Sample\n\n```{toctree}\nwoven\nquestions\nrest\nfigure\n```\n")
    assert "no text alternative" in site.build(check=False)


def snapshot(folder):
    """Contents of all files of a build."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".buildinfo"
    }
