r"""Who could notice that this place changed?

Four neighbours are asked for, since each has code of its own around the common path: tensor
parallelism, quantization, LoRA, speculative decoding. Three kinds of evidence, strongest first:

- the place itself **names** state of the feature (`spec_token_ids` in the scheduler);
- the feature's code **reaches** the place, along calls that were resolved;
- the place **reaches** the feature's code, likewise.

What a call graph cannot see is said with the answer: calls through an object of unknown class,
methods that a subclass overrides, what is chosen by configuration, kernels, and that TP runs the
same code in several processes. No evidence is a question to ask, not an all-clear.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from upstream_anchors.codebase_map.graph import CodeGraph
from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place

from capstone.errors import CapstoneError
from capstone.plan.upstream import Upstream

Node = tuple[str, str]  # path, symbol

#: How many calls a chain may have: beyond it, everything reaches everything.
LONGEST_CHAIN = 3

_SHOWN = 6


@dataclass(frozen=True)
class Feature:
    r"""A neighbour: where its code lives, and by which names the common path speaks of it."""

    name: str
    homes: tuple[str, ...]
    names: re.Pattern[str]

    def owns(self, path: str) -> bool:
        r"""Whether a file is the feature's own."""
        return path.startswith(self.homes)


FEATURES = (
    Feature(
        "TP",
        (
            "vllm/distributed/parallel_state.py",
            "vllm/distributed/communication_op.py",
            "vllm/distributed/device_communicators/",
            "vllm/v1/executor/multiproc_executor.py",
            "vllm/v1/executor/ray",
        ),
        re.compile(r"(.*_)?tp(_size|_rank|_group)?|.*tensor_(model_)?parallel.*|tensor_parallel"),
    ),
    Feature(
        "Quantization",
        ("vllm/model_executor/layers/quantization/",),
        re.compile(r".*quant.*|(kv_)?cache_dtype|.*_fp8.*|fp8.*", re.IGNORECASE),
    ),
    Feature("LoRA", ("vllm/lora/",), re.compile(r".*lora.*", re.IGNORECASE)),
    Feature(
        "Speculative decoding",
        (
            "vllm/v1/spec_decode/",
            "vllm/v1/worker/gpu/spec_decode/",
            "vllm/v1/sample/rejection_sampler.py",
        ),
        re.compile(r".*spec_(token|decod).*|.*num_spec.*|.*draft.*|.*lookahead.*|.*speculat.*"),
    ),
)


@dataclass(frozen=True)
class Evidence:
    r"""One reason to look: what kind, in words, and the anchor to put into the plan."""

    kind: str
    text: str
    anchor: str


@dataclass
class Radius:
    r"""What is known of one place: who calls it, the evidence per feature, and what is unseen."""

    target: str
    node: Node
    callers: list[tuple[Node, int]] = field(default_factory=list)
    aliases: list[Node] = field(default_factory=list)
    evidence: dict[str, list[Evidence]] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)


def radius_of(target: str, upstream: Upstream) -> Radius:
    r"""The blast radius of one Python symbol, or of the definition around one line."""
    try:
        place = upstream.find(target)
    except AnchorError as error:
        raise CapstoneError(str(error)) from error
    if not place.path.startswith(f"{upstream.pin.project}/") or not place.path.endswith(".py"):
        raise CapstoneError(
            f"{target}: the graph has the Python files of {upstream.pin.project}/, and {place.path}"
            " is none of them"
        )
    graph = upstream.graph
    node = (place.path, _around(place, upstream))
    aliases = _same_method(node, upstream)
    radius = Radius(target, node, aliases=aliases)
    starts = [node, *aliases]
    radius.callers = [
        ((call.path, call.caller), call.line)
        for one in starts
        for call in graph.callers[one[0]]
        if _within(call.callee, one[1])
        and not (call.path == one[0] and _within(call.caller, one[1]))
    ]
    named = _named(node, upstream)
    into = _Reach(graph, starts, backwards=True)
    out = _Reach(graph, [node], backwards=False)
    for feature in FEATURES:
        radius.evidence[feature.name] = [
            *_names_evidence(feature, node, named),
            *_reach_evidence(feature, into, "reaches this along"),
            *_reach_evidence(feature, out, "is reached from here along"),
        ]
    radius.unseen = _unseen(node, radius, upstream)
    return radius


def suggestion(feature: str, radii: Iterable[Radius]) -> str:
    r"""The line of a plan's blast radius that the evidence suggests, to be argued with."""
    for radius in radii:
        for evidence in radius.evidence[feature]:
            # Without the lines: a plan outlives the next commit to the file.
            return f"`{evidence.anchor}` " + re.sub(r" \(lines? [^)]*\)", "", evidence.text)
    return ""


# ---- the place ------------------------------------------------------------------------------
def _around(place: Place, upstream: Upstream) -> str:
    # The innermost definition that holds the place; "" for a line of the module's own body.
    table = upstream.resolver.table(place.path)
    if place.kind in {"class", "function", "method"} and place.symbol:
        return place.symbol
    start = place.start or 1
    around = [
        table[name]
        for name in table
        if table[name].kind in {"class", "function", "method"}
        and table[name].start <= start <= table[name].end
    ]
    return min(around, key=lambda one: one.end - one.start).name if around else ""


def _within(symbol: str, owner: str) -> bool:
    return not owner or symbol == owner or symbol.startswith(f"{owner}.")


def _same_method(node: Node, upstream: Upstream) -> list[Node]:
    # A caller that holds the base class calls the base's method: that call is to this one too.
    path, symbol = node
    owner, _, method = symbol.rpartition(".")
    found: list[Node] = []
    queue = deque([(path, owner)] if owner else [])
    seen = set(queue)
    while queue:
        file, klass = queue.popleft()
        table = upstream.resolver.table(file)
        definition = table[klass].node if klass in table else None
        if not isinstance(definition, ast.ClassDef):
            continue
        for base in definition.bases:
            name = ast.unparse(base).split("[")[0]
            there = _definition(name, file, upstream)
            if there is None or there in seen:
                continue
            seen.add(there)
            queue.append(there)
            if f"{there[1]}.{method}" in upstream.resolver.table(there[0]):
                found.append((there[0], f"{there[1]}.{method}"))
    return found


def _definition(name: str, file: str, upstream: Upstream) -> Node | None:
    table = upstream.resolver.table(file)
    if name in table:
        return file, name
    origin = table.imported.get(name, "")
    if not origin or origin.startswith("."):
        return None
    try:
        place = upstream.find(f"py:{origin}")
    except AnchorError:
        return None
    return (place.path, place.symbol) if place.symbol else None


def _named(node: Node, upstream: Upstream) -> dict[str, list[int]]:
    # Every name that the code of the place uses, with its lines; comments and strings aside.
    path, symbol = node
    table = upstream.resolver.table(path)
    root: ast.AST | None = table[symbol].node if symbol else table.module
    found: dict[str, list[int]] = defaultdict(list)
    for one in ast.walk(root or table.module):
        if isinstance(one, ast.Name):
            found[one.id].append(one.lineno)
        elif isinstance(one, ast.Attribute):
            found[one.attr].append(one.end_lineno or one.lineno)
        elif isinstance(one, (ast.arg, ast.keyword)) and one.arg:
            found[one.arg].append(one.lineno)
    return found


def _names_evidence(feature: Feature, node: Node, named: dict[str, list[int]]) -> list[Evidence]:
    hits = {name: lines for name, lines in named.items() if feature.names.fullmatch(name)}
    if not hits:
        return []
    ranked = sorted(hits, key=lambda name: (-len(hits[name]), name))
    spelled = ", ".join(
        f"{name} ({'line' if len(set(hits[name])) == 1 else 'lines'} "
        f"{', '.join(map(str, sorted(set(hits[name]))[:3]))}"
        f"{', …' if len(set(hits[name])) > 3 else ''})"
        for name in ranked[:_SHOWN]
    )
    more = f" and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else ""
    return [Evidence("names", f"names {spelled}{more}", _anchor(node))]


# ---- chains ---------------------------------------------------------------------------------
class _Reach:
    # Shortest chains of resolved calls from some nodes, towards callers or towards callees.
    def __init__(self, graph: CodeGraph, starts: list[Node], *, backwards: bool) -> None:
        self.backwards = backwards
        ways: dict[Node, list[Node]] = defaultdict(list)
        for call in graph.calls:
            caller, callee = (call.path, call.caller), (call.callee_path, call.callee)
            if backwards:
                ways[callee].append(caller)
            else:
                ways[caller].append(callee)
        first = [n for n in ways if any(n[0] == s[0] and _within(n[1], s[1]) for s in starts)]
        self.before: dict[Node, Node | None] = dict.fromkeys([*starts, *first])
        queue = deque((node, 0) for node in self.before)
        while queue:
            node, length = queue.popleft()
            if length == LONGEST_CHAIN:
                continue
            for other in dict.fromkeys(ways.get(node, ())):
                if other[1] and other not in self.before:
                    self.before[other] = node
                    queue.append((other, length + 1))

    def chain(self, node: Node) -> list[Node]:
        chain = [node]
        while (previous := self.before[chain[-1]]) is not None:
            chain.append(previous)
        return chain if self.backwards else chain[::-1]


def _reach_evidence(feature: Feature, reach: _Reach, verb: str) -> list[Evidence]:
    chains = [
        reach.chain(node)
        for node, before in reach.before.items()
        if before is not None and feature.owns(node[0])
    ]
    # One a file, the shortest: the rest of the file says the same.
    by_file: dict[str, tuple[list[Node], Node]] = {}
    for chain in sorted(chains, key=len):
        own = chain[0] if reach.backwards else chain[-1]
        by_file.setdefault(own[0], (chain, own))
    found = []
    for chain, own in list(by_file.values())[:_SHOWN]:
        spelled = " → ".join(symbol for _, symbol in chain)
        found.append(Evidence("reaches", f"{verb} {spelled}", _anchor(own)))
    return found


def _anchor(node: Node) -> str:
    return f"{node[0]}#{node[1]}" if node[1] else node[0]


# ---- what is not seen -----------------------------------------------------------------------
def _unseen(node: Node, radius: Radius, upstream: Upstream) -> list[str]:
    path, symbol = node
    graph = upstream.graph
    file = graph.files.get(path)
    found = []
    if file is not None and file.calls:
        lost = sum(file.unresolved.values())
        found.append(f"{lost} of the {file.calls} calls in {path} lead nowhere that its text tells")
    name = symbol.rpartition(".")[2]
    if name and not name.startswith("__"):
        pattern = rb"\." + re.escape(name).encode() + rb"\("
        known = {caller[0] for caller, _ in radius.callers} | {path}
        others = [p for p in upstream.tree.files_matching(pattern) if p not in known]
        if others:
            shown = ", ".join(others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
            found.append(
                f"{len(others)} further files have a call `.{name}(` of something: {shown}"
            )
    found.append(
        "overriding subclasses, callbacks, what configuration or a plugin chooses, kernels and "
        "custom ops are no calls in this graph; under TP the same code runs in every rank"
    )
    return found
