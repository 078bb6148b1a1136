r"""Which step of upstream's CI runs a test, and on what machine?

A test that no step runs protects nothing. The steps stand in `.buildkite/test_areas/*.yaml`: a
label, a device, commands. Only `pytest` commands are read, with the paths they name, what they
`--ignore`, and the markers and keywords that they select by. A step with `-k` runs a part of a
file, and which part is not for a reader of YAML to say: it is called `part`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import normpath
from typing import Any

import yaml
from upstream_anchors.tree import Tree

from capstone.errors import CapstoneError

_FOLDER = ".buildkite/test_areas/"
_ROOT = "/vllm-workspace"
_WITH_VALUE = frozenset(
    {"-m", "-k", "--ignore", "-n", "-p", "-c", "-o", "--timeout", "--durations"}
)
# `pytestmark = pytest.mark.cpu_test` marks a whole file, `@pytest.mark.cpu_test` one test.
_WHOLE_FILE = re.compile(r"^pytestmark\s*=[^#\n]*(?:\n[^\n#]+){0,3}?cpu_test", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    r"""One `pytest` command: the paths it collects and how it selects among their tests."""

    paths: tuple[str, ...]
    ignored: tuple[str, ...]
    marker: str = ""
    keyword: str = ""


@dataclass(frozen=True)
class Step:
    r"""A step of CI; `sources` are the paths whose change starts it."""

    file: str
    line: int
    label: str
    device: str
    gpus: int
    optional: bool
    sources: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def runs_on(self) -> str:
        r"""`CPU` or `GPU`; a step that names no device gets a machine with a GPU."""
        return "CPU" if self.device.startswith("cpu") else "GPU"

    def covers(self, path: str, source: str) -> str:
        r"""`whole`, `part` or `""`: how much of a test file with this text the step runs."""
        found = {_extent(run, path, source) for run in self.runs}
        return next((extent for extent in ("whole", "part") if extent in found), "")


def _extent(run: Run, path: str, source: str) -> str:
    if any(_below(path, ignored) for ignored in run.ignored):
        return ""
    if not any(_below(path, one) for one in run.paths):
        return ""
    if run.keyword:
        return "part"
    if run.marker.replace("'", "").replace('"', "") in ("cpu_test", "not cpu_test"):
        marked = "cpu_test" in source
        every = bool(_WHOLE_FILE.search(source))
        if run.marker.startswith("not"):
            return "" if every else "part" if marked else "whole"
        return "whole" if every else "part" if marked else ""
    return "part" if run.marker and run.marker != "not slow_test" else "whole"


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def read_steps(tree: Tree) -> list[Step]:
    r"""Every step of every area, in the order of the files."""
    names = sorted(p for p in tree.files if p.startswith(_FOLDER) and p.endswith(".yaml"))
    return [step for name in names for step in _steps_of(tree, name)]


def covering(steps: list[Step], tree: Tree, path: str) -> list[tuple[Step, str]]:
    r"""The steps that run a test file, whole ones first, with how much of it they run."""
    source = tree.text(path) if tree.is_file(path) else ""
    found = [(step, extent) for step in steps if (extent := step.covers(path, source))]
    return sorted(found, key=lambda pair: (pair[1] != "whole", pair[0].optional))


def _steps_of(tree: Tree, name: str) -> Iterator[Step]:
    text = tree.text(name)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CapstoneError(f"{name}: not YAML: {error}") from error
    lines = text.split("\n")
    for entry in data.get("steps", ()):
        label = str(entry.get("label", ""))
        place = next((n for n, line in enumerate(lines, 1) if f"label: {label}" in line), 1)
        folder = str(entry.get("working_dir", f"{_ROOT}/tests"))
        yield Step(
            file=name,
            line=place,
            label=label,
            device=str(entry.get("device", "gpu")),
            gpus=int(entry.get("num_devices", 1)),
            optional=bool(entry.get("optional", False)),
            sources=tuple(map(str, entry.get("source_file_dependencies") or ())),
            runs=tuple(_runs(entry.get("commands") or (), folder, tree)),
        )


def _runs(commands: Any, folder: str, tree: Tree) -> Iterator[Run]:
    where = folder  # the commands of a step share a shell, so a `cd` stays
    for command in commands:
        for line in str(command).replace("\\\n", " ").split("\n"):
            for piece in re.split(r"&&|\|\||;|\|", line):
                words = _words(piece)
                if words[:1] == ["cd"] and len(words) > 1:
                    where = words[1] if words[1].startswith("/") else f"{where}/{words[1]}"
                elif run := _pytest(words, where, tree):
                    yield run


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return []  # a quote that a split at `;` tore apart: no command that names a test


def _pytest(words: list[str], folder: str, tree: Tree) -> Run | None:
    if "pytest" not in words:
        return None
    paths, ignored, marker, keyword = [], [], "", ""
    rest = iter(words[words.index("pytest") + 1 :])
    for word in rest:
        name, _, value = word.partition("=")
        if name in _WITH_VALUE and not value:
            value = next(rest, "")
        if name == "--ignore":
            ignored.append(_in_tree(value, folder, tree))
        elif name == "-m":
            marker = value
        elif name == "-k":
            keyword = value
        elif not name.startswith("-"):
            file, _, test = word.partition("::")
            paths.append(_in_tree(file, folder, tree))
            keyword = keyword or test
    return Run(tuple(filter(None, paths)), tuple(filter(None, ignored)), marker, keyword)


def _in_tree(path: str, folder: str, tree: Tree) -> str:
    # A command names paths from its own folder, which is `tests/` unless it says otherwise.
    base = normpath(folder).removeprefix(_ROOT).strip("/")
    for candidate in (f"{base}/{path}" if base else path, path):
        plain = normpath(candidate)
        if tree.is_file(plain) or tree.is_folder(plain):
            return plain
    return ""
