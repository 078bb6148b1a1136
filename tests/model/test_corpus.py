r"""Text that is held out stays out, and the lists in the repository say which it is."""

import json
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.model import corpus

SPDX = "# SPDX-License-Identifier: Apache-2.0\n"


def write(tree, files):
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)


def test_the_split_depends_on_the_path_alone():
    assert corpus.is_held_out("vllm/0") == corpus.is_held_out("vllm/0")
    held = [path for path in map("vllm/{}.py".format, range(5000)) if corpus.is_held_out(path)]
    assert 60 < len(held) < 140  # one in fifty
    assert held[0] == "vllm/92.py"  # the rule is part of the record: another hash is another split


def test_reads_only_what_the_card_says(tmp_path):
    write(
        tmp_path,
        {
            "vllm/92.py": "held = 1\n",
            "vllm/a.py": f"{SPDX}# SPDX-FileCopyrightText: x\n\na = 1\n",
            "vllm/empty.py": SPDX,
            "vllm/third_party/b.py": "b = 1\n",
            "docs/c.md": "# C\n",
            "docs/d.txt": "no\n",
            "tests/e.py": "no = 1\n",
            "examples/f.py": "f = 1\n",
            "benchmarks/g.py": "g = 1\n",
        },
    )
    read = corpus.read(tmp_path)
    assert [(d.path, d.text) for d in read.heldout] == [("vllm/92.py", "held = 1\n")]
    assert {d.path: d.text for d in read.train} == {
        "benchmarks/g.py": "g = 1\n",
        "docs/c.md": "# C\n",
        "examples/f.py": "f = 1\n",
        "vllm/a.py": "a = 1\n",
    }
    assert read.manifest()["train"]["bytes"] == len("g = 1\n# C\nf = 1\na = 1\n")


def test_a_missing_tree_is_named(tmp_path):
    with pytest.raises(corpus.CorpusError, match=str(tmp_path)):
        corpus.read(tmp_path)


@given(st.lists(st.sampled_from(["# SPDX-License-Identifier: Apache-2.0", "import os", "", "# x"])))
def test_stripping_takes_the_spdx_lines_and_nothing_else(lines):
    kept = corpus.strip_spdx("\n".join([*lines, "end"])).splitlines()
    expected = [line for line in [*lines, "end"] if not line.startswith("# SPDX")]
    while not expected[0]:
        expected.pop(0)
    assert kept == expected


def test_the_committed_lists_agree_with_the_rule():
    heldout = (corpus.HERE / "heldout.txt").read_text().splitlines()
    assert heldout == sorted(heldout)
    assert all(map(corpus.is_held_out, heldout))
    assert {PurePosixPath(path).parts[0] for path in heldout} <= set(corpus.ROOTS)
    assert len(heldout) == json.loads((corpus.HERE / "corpus.json").read_text())["heldout"]["files"]


def test_the_committed_lists_agree_with_the_pinned_tree(tree):
    read = corpus.read(tree)
    assert [d.path for d in read.heldout] == (corpus.HERE / "heldout.txt").read_text().splitlines()
    assert read.manifest() == json.loads((corpus.HERE / "corpus.json").read_text())
    assert not {d.path for d in read.train} & {d.path for d in read.heldout}
