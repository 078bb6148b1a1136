r"""Correct and plausible wrong repairs, made out of the pinned function by moving its parts.

`check_stop` of the pin is five questions in a row: the gate of `min_tokens`, EOS, stop ids, length,
repetition. A repair moves or rewrites one of them, so a repair is written here as an order of
parts. No line of upstream is copied; a tree in which the parts cannot be told apart is refused.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

Parts = dict[str, list[ast.stmt]]


def parts_of(source: str) -> tuple[ast.FunctionDef, Parts]:
    r"""The function and its parts by name; raises `ValueError` if there are not exactly these."""
    functions = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == "check_stop"
    ]
    if len(functions) != 1:
        raise ValueError("check_stop is not one function of this file")
    parts: Parts = {name: [] for name in ("head", "gate", "eos", "ids", "length", "loop", "tail")}
    for statement in functions[0].body:
        parts[_part(statement)].append(statement)
    if empty := [name for name, statements in parts.items() if not statements]:
        raise ValueError(f"check_stop has no part {', '.join(empty)}")
    return functions[0], parts


def _part(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Return):
        return "tail"
    text = ast.unparse(statement)
    if "repetition" in text:
        return "loop"
    if isinstance(statement, ast.If):
        named = ast.unparse(statement.test)
        for mark, part in (
            ("min_tokens", "gate"),
            ("stop_token_ids", "ids"),
            ("eos_token_id", "eos"),
            ("max_model_len", "length"),
        ):
            if mark in named:
                return part
    return "head"


def _if(parts: Parts, name: str) -> ast.If:
    found = next(one for one in parts[name] if isinstance(one, ast.If))
    return copy.deepcopy(found)


def _test(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _gate_with(parts: Parts, test: str | None = None, **changes: Any) -> list[ast.stmt]:
    """The gate, with the question about the length inside it."""
    gate, length = _if(parts, "gate"), _if(parts, "length")
    if test is not None:
        length.test = _test(test)
    if changes.get("status") == "none":
        length.body = [one for one in length.body if isinstance(one, ast.Return)]
    elif "status" in changes:
        for node in ast.walk(length):
            if isinstance(node, ast.Attribute) and node.attr == "FINISHED_LENGTH_CAPPED":
                node.attr = changes["status"]
    gate.body = [length, *gate.body]
    return [gate]


def _guarded(parts: Parts, name: str) -> list[ast.stmt]:
    """A part that asks only when `min_tokens` are reached."""
    below = _if(parts, "gate").test
    statements = []
    for one in parts[name]:
        kept = copy.deepcopy(one)
        if isinstance(kept, ast.If):
            enough = ast.UnaryOp(op=ast.Not(), operand=copy.deepcopy(below))
            kept.test = ast.BoolOp(op=ast.And(), values=[enough, kept.test])
        statements.append(kept)
    return statements


def _room_first(parts: Parts) -> list[ast.stmt]:
    """The gate, closed only while there is room."""
    gate = _if(parts, "gate")
    room = ast.UnaryOp(op=ast.Not(), operand=_if(parts, "length").test)
    gate.test = ast.BoolOp(op=ast.And(), values=[gate.test, room])
    return [gate]


def _order(parts: Parts, *names: str | list[ast.stmt]) -> list[ast.stmt]:
    chosen: list[ast.stmt] = []
    for name in ("head", *names, "tail"):
        chosen += copy.deepcopy(parts[name]) if isinstance(name, str) else name
    return chosen


_REST = ("eos", "ids", "length", "loop")
_MODEL_LEN = "request.num_tokens >= max_model_len"
_MAX_TOKENS = "request.num_output_tokens >= request.max_tokens"

Repair = Callable[[Parts], list[ast.stmt]]

#: They differ where a repair may choose, and in nothing else.
CORRECT: dict[str, Repair] = {
    "the length inside the gate": lambda p: _order(p, _gate_with(p), *_REST),
    "a gate that is open at the wall": lambda p: _order(p, _room_first(p), *_REST),
    "every stop guarded, the length not": lambda p: _order(
        p, _guarded(p, "eos"), _guarded(p, "ids"), "length", _guarded(p, "loop")
    ),
}

#: Name → the repair, and what is wrong with it.
WRONG: dict[str, tuple[Repair, str]] = {
    "only max_tokens": (
        lambda p: _order(p, _gate_with(p, _MAX_TOKENS), *_REST),
        "asks about max_tokens below min_tokens and not about max_model_len: it still hangs",
    ),
    "one too late": (
        lambda p: _order(p, _gate_with(p, "request.num_tokens > max_model_len"), *_REST),
        "asks for one token more than max_model_len, which never comes: it still hangs",
    ),
    "no status": (
        lambda p: _order(p, _gate_with(p, status="none"), *_REST),
        "says that the request stopped and leaves it RUNNING",
    ),
    "called a stop": (
        lambda p: _order(p, _gate_with(p, status="FINISHED_STOPPED"), *_REST),
        "ends with `stop`, as if the model had finished, and not with `length`",
    ),
}

#: Wrong as well, though in what they break: upstream's tests or the stop table must say so.
BREAKING: dict[str, tuple[Repair, str]] = {
    "only max_model_len": (
        lambda p: _order(p, _gate_with(p, _MODEL_LEN), *_REST),
        "a max_tokens that was lowered below min_tokens is still not asked about",
    ),
    "the length first": (
        lambda p: _order(p, "length", "gate", "eos", "ids", "loop"),
        "EOS as the last token allowed now ends with `length`",
    ),
    "no gate": (
        lambda p: _order(p, *_REST),
        "min_tokens are no longer a minimum",
    ),
    "the gate last": (
        lambda p: _order(p, "eos", "ids", "length", "gate", "loop"),
        "EOS below min_tokens now ends the request: a change of contract",
    ),
}


def source_of(source: str, repair: Repair | None) -> str:
    r"""The function alone, as text, after a repair; `None` leaves it as it is."""
    function, parts = parts_of(source)
    changed = copy.deepcopy(function)
    if repair is not None:
        changed.body = repair(parts)
    return ast.unparse(ast.fix_missing_locations(changed))


def code_of(source: str, repair: Repair | None) -> CodeType:
    r"""The code object of the repaired function, for putting into the live one.

    In place of `function.__code__` it reaches every name under which a module has imported it.
    """
    module = compile(source_of(source, repair), "<a variant of check_stop>", "exec")
    codes: Sequence[Any] = module.co_consts
    return next(c for c in codes if isinstance(c, CodeType) and c.co_name == "check_stop")


def repaired_file(source: str, repair: Repair) -> str:
    r"""The whole file with the function replaced: what a learner would have saved."""
    function, _ = parts_of(source)
    lines = source.splitlines()
    before, after = lines[: function.lineno - 1], lines[function.end_lineno :]
    return "\n".join([*before, *source_of(source, repair).splitlines(), *after]) + "\n"
