"""Targets are taken apart the way a writer meant them, or refused."""

import pytest

from upstream_anchors.errors import AnchorError
from upstream_anchors.target import Target, split_title


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vllm/a.py", {"kind": "path", "path": "vllm/a.py"}),
        ("docs/design/", {"kind": "path", "path": "docs/design"}),
        ("a/b.py#C.d", {"kind": "path", "path": "a/b.py", "symbol": "C.d"}),
        (
            'a/b.py#C.d@"x = [1, "two"]"',
            {"kind": "path", "symbol": "C.d", "fragment": 'x = [1, "two"]'},
        ),
        ('csrc/k.cu@"void f(a#b)"', {"kind": "path", "symbol": None, "fragment": "void f(a#b)"}),
        ("docs/g.md#1. A Heading: two", {"kind": "path", "symbol": "1. A Heading: two"}),
        ("env:VLLM_X", {"kind": "env", "name": "VLLM_X"}),
        ("flag:--a-b.c", {"kind": "flag", "name": "--a-b.c"}),
        ("flag:-tp", {"kind": "flag", "name": "-tp"}),
        ('log:"GPU KV: %s"', {"kind": "log", "fragment": "GPU KV: %s"}),
        ("py:vllm.a.B", {"kind": "python", "name": "vllm.a.B"}),
        (
            'default:a/b.py#C.d="x=y"',
            {"kind": "default", "path": "a/b.py", "symbol": "C.d", "value": '"x=y"'},
        ),
    ],
)
def test_each_form_is_taken_apart(text: str, expected: dict) -> None:
    target = Target.parse(text)
    assert {key: getattr(target, key) for key in expected} == expected


def test_a_target_broken_over_two_lines_is_put_together() -> None:
    assert Target.parse('a/b.py#C@"one\n   two"').fragment == "one two"


@pytest.mark.parametrize(
    "text",
    ["", "env:", "flag:x", "log:plain", "default:a.py#B.c", "/abs/a.py", "../a.py", "a//b.py"],
)
def test_anything_else_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(AnchorError, match=r"not a target|not a plain path"):
        Target.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.py#B", (None, "a.py#B")),
        ("its name <a.py#B>", ("its name", "a.py#B")),
        ("its\nname\n  <a.py#B>", ("its name", "a.py#B")),
        ('t <a.py#B@"x < y > z">', ("t", 'a.py#B@"x < y > z"')),
        ('a.py#B@"-> list[<T>]"', (None, 'a.py#B@"-> list[<T>]"')),
    ],
)
def test_titles_are_split_off(text: str, expected: tuple) -> None:
    assert split_title(text) == expected
