r"""Where does vLLM learn of a flag, or of an environment variable?

An environment variable is one entry of the dictionary in `vllm/envs.py`. A flag is registered in
one of two ways at the pin: the engine's by an `add_argument` call with the flag spelled out, the
server's by a loop over the fields of a dataclass, so that `--disable-log-stats` style names occur
nowhere in the text. Both are looked for, the engine's file first: `vllm serve` and every benchmark
share it. A `--no-` form belongs to its positive flag.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from upstream_anchors.errors import AnchorError, nearest_names
from upstream_anchors.place import Place
from upstream_anchors.target import Target

if TYPE_CHECKING:
    from upstream_anchors.resolver import Resolver

ENVIRONMENT_FILE = "vllm/envs.py"
ENVIRONMENT_TABLE = "environment_variables"
ENGINE_FLAGS = "vllm/engine/arg_utils.py"
SERVER_FLAGS = "vllm/entrypoints/openai/cli_args.py"
SERVER_FIELDS = ("FrontendArgs", "BaseFrontendArgs")


def find_environment_variable(resolver: Resolver, target: Target) -> Place:
    r"""The entry of a variable in the table that vLLM reads its environment through."""
    name = target.name or ""
    entries = dict(_environment_entries(resolver))
    if name not in entries:
        near = [f"env:{other}" for other in nearest_names(name, entries)]
        raise AnchorError(f"{target.text}: {ENVIRONMENT_FILE} has no entry {name}", near)
    start, end = entries[name]
    return Place(target.text, "variable", ENVIRONMENT_FILE, name, start, end)


def _environment_entries(resolver: Resolver) -> Iterator[tuple[str, tuple[int, int]]]:
    if not resolver.tree.is_file(ENVIRONMENT_FILE):
        raise AnchorError(f"{resolver.pin} has no {ENVIRONMENT_FILE}")
    node = resolver.symbol(ENVIRONMENT_FILE, ENVIRONMENT_TABLE).node
    table = getattr(node, "value", None)
    if not isinstance(table, ast.Dict):
        raise AnchorError(
            f"{ENVIRONMENT_FILE}#{ENVIRONMENT_TABLE} is no longer a dictionary display"
        )
    for key, value in zip(table.keys, table.values):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, (key.lineno, value.end_lineno or value.lineno)


def find_flag(resolver: Resolver, target: Target) -> Place:
    r"""The registration of a flag, or the dataclass field that it is generated from."""
    flag = target.name or ""
    known: dict[str, tuple[str, int, int]] = {}
    for path in (ENGINE_FLAGS, SERVER_FLAGS):
        for name, start, end in _flags_of(resolver, path):
            known.setdefault(name, (path, start, end))
    positive = flag.replace("--no-", "--", 1)
    for name in (flag, positive):
        if name in known:
            path, start, end = known[name]
            return Place(target.text, "flag", path, flag, start, end)
    elsewhere = _flags_elsewhere(resolver, flag)
    if len(elsewhere) == 1:
        path, start, end = elsewhere[0]
        return Place(target.text, "flag", path, flag, start, end)
    if elsewhere:
        where = [f"{path}, line {start}" for path, start, _ in elsewhere[:6]]
        raise AnchorError(
            f"{target.text}: neither the engine nor the server has this flag, and "
            f'{len(elsewhere)} other commands do; anchor one as path#symbol@"fragment"',
            where,
        )
    near = [f"flag:{other}" for other in nearest_names(flag, known)]
    raise AnchorError(f"{target.text}: no command of {resolver.pin} has this flag", near)


def _flags_elsewhere(resolver: Resolver, flag: str) -> list[tuple[str, int, int]]:
    found = []
    spelled = re.escape(f'"{flag}"').encode()
    for path in resolver.tree.files_matching(spelled, resolver.pin.project):
        if path in (ENGINE_FLAGS, SERVER_FLAGS):
            continue
        found += [
            (path, start, end) for name, start, end in _flags_of(resolver, path) if name == flag
        ]
    return found


def _flags_of(resolver: Resolver, path: str) -> Iterator[tuple[str, int, int]]:
    if not resolver.tree.is_file(path):
        return
    table = resolver.table(path)
    if path == SERVER_FLAGS:
        for owner in SERVER_FIELDS:
            for name in table:
                head, _, field = name.rpartition(".")
                if head == owner and isinstance(table[name].node, ast.AnnAssign):
                    yield f"--{field.replace('_', '-')}", table[name].start, table[name].end
    for node in ast.walk(table.module):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and str(argument.value).startswith("-"):
                    yield str(argument.value), node.lineno, node.end_lineno or node.lineno
