"""The scanner sees what MyST would make a link of, and nothing else."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from upstream_anchors.pin import Pin
from upstream_anchors.scanner import scan_book, scan_markdown, scan_python


def targets(text: str, pin: Pin) -> list[tuple[str, int]]:
    """Targets with line numbers of a Markdown text."""
    return list(scan_markdown(textwrap.dedent(text).lstrip("\n"), pin))


def test_roles_in_prose_count_with_their_lines(pin: Pin) -> None:
    text = """
        # {up}`a.py`

        See {up}`b.py#C` and {up}`its
        step <b.py#C.step>`, or {up}``b.py#C@"`x`"``.

        - a list {up}`env:VLLM_X`
        > a quote {up}`flag:--x`

        | table | {up}`log:"two words"` |
        |---|---|
    """
    assert targets(text, pin) == [
        ("a.py", 1),
        ("b.py#C", 3),
        ("b.py#C.step", 3),
        ('b.py#C@"`x`"', 4),
        ("env:VLLM_X", 6),
        ("flag:--x", 7),
        ('log:"two words"', 9),
    ]


def test_python_names_of_the_project_count_and_others_do_not(pin: Pin) -> None:
    text = "{py:class}`vllm.a.B`, {py:meth}`~vllm.a.B.c()`, {py:func}`f <vllm.f>`, {py:mod}`torch`"
    assert [t for t, _ in targets(text, pin)] == ["py:vllm.a.B", "py:vllm.a.B.c", "py:vllm.f"]


@pytest.mark.parametrize(
    "text",
    [
        "```python\n# {up}`a.py`\n```",
        "~~~\n{up}`a.py`\n~~~",
        "```{code-cell} ipython3\n# {up}`a.py`\n```",
        "````text\n```\n{up}`a.py`\n```\n````",
        "`` {up}`a.py` `` is how it is written",
        "a disabled {up}`!a.py`",
        "% a comment {up}`a.py`",
        "---\ntitle: '{up}`a.py`'\n---\n",
        "an escape of `{up}` and then `a.py`",
        "{upper}`a.py`",
    ],
)
def test_text_that_only_looks_like_a_role_does_not(pin: Pin, text: str) -> None:
    assert targets(text, pin) == []


@pytest.mark.parametrize(
    "text",
    [
        "```{note}\n{up}`a.py`\n```",
        ":::{note} {up}`a.py`\n:::",
        "::::{question} q-1\n:minutes: 3\n\n:::{mechanism}\n{up}`a.py`\n:::\n::::",
        "```python\nx = 1\n```\n\n{up}`a.py`",
        "````{note}\n```python\ny = 2\n```\n{up}`a.py`\n````",
    ],
)
def test_prose_inside_a_directive_counts(pin: Pin, text: str) -> None:
    assert [target for target, _ in targets(text, pin)] == ["a.py"]


def test_an_excerpt_counts_by_its_argument(pin: Pin) -> None:
    text = "Before.\n\n```{up-code} a.py#B.c\n:lines: 1-3\n```\n"
    assert targets(text, pin) == [("a.py#B.c", 3)]


def test_python_docstrings_anchor_arguments_and_imports_count(pin: Pin) -> None:
    source = '''
        r"""Module, {up}`a.py`."""
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from vllm.b import C

        @invariant("x", "holds at {up}`d.py#D`", anchors=["e.py#E", 'f.py@"one line"'])
        def f():
            r"""First line.

            ```python
            # {up}`not.py`
            ```

            Upstream: {up}`g.py#G`.
            """
    '''
    found = dict(scan_python(textwrap.dedent(source).lstrip("\n"), pin))
    assert found == {
        "a.py": 1,
        "py:vllm.b.C": 5,
        "d.py#D": 7,
        "e.py#E": 7,
        'f.py@"one line"': 7,
        "g.py#G": 15,
    }


def test_captures_declare_theirs(tmp_path: Path, pin: Pin) -> None:
    lab = tmp_path / "labs" / "lab-01"
    lab.mkdir(parents=True)
    (lab / "capture.toml").write_text('[[line]]\ntext = "x"\nanchor = "a.py#B"\n')
    (lab / "capture.json").write_text('{"lines": [{"anchors": ["c.py", "d.py"], "note": "e.py"}]}')
    uses, problems = scan_book(tmp_path, pin)
    assert [(use.target, use.file) for use in uses] == [
        ("a.py#B", "labs/lab-01/capture.toml"),
        ("c.py", "labs/lab-01/capture.json"),
        ("d.py", "labs/lab-01/capture.json"),
    ]
    assert problems == []


def test_what_data_declares_counts_on_the_lines_that_spell_it(tmp_path: Path, pin: Pin) -> None:
    book = tmp_path / "book"
    book.mkdir()
    (book / "data.toml").write_text(
        '[a]\nanchor = "a.py#B.c"\n[b]\nanchor = "a.py#B"\nsee = "{py:class}`vllm.x.Y`"\n'
        '[c]\nanchors = ["a.py#B", "a.py@\\"one line\\""]\n'
    )
    uses, _ = scan_book(tmp_path, pin)
    assert [(use.target, use.line) for use in uses] == [
        ("a.py#B", 4),
        ("a.py#B", 7),
        ("a.py#B.c", 2),
        ('a.py@"one line"', 7),
        ("py:vllm.x.Y", 5),
    ]


def test_text_in_toml_is_read_as_markdown_and_text_in_json_is_not(tmp_path: Path, pin: Pin) -> None:
    book = tmp_path / "book"
    book.mkdir()
    (book / "data.toml").write_text('[a]\nreason = "see {up}`a.py#B`"\nanchor = "c.py"\n')
    (book / "record.json").write_text('{"said": "see {up}`d.py`"}')
    uses, problems = scan_book(tmp_path, pin)
    assert [use.target for use in uses] == ["a.py#B", "c.py"]
    assert problems == []


def test_a_broken_file_is_a_problem_and_hides_no_other(tmp_path: Path, pin: Pin) -> None:
    (tmp_path / "mini_vllm").mkdir()
    (tmp_path / "mini_vllm" / "bad.py").write_text('x = "unterminated\n')
    (tmp_path / "mini_vllm" / "good.py").write_text('"""{up}`a.py`"""\n')
    uses, problems = scan_book(tmp_path, pin)
    assert [use.target for use in uses] == ["a.py"]
    assert len(problems) == 1
    assert "mini_vllm/bad.py" in problems[0]
