r"""What can an expression stand for?

The answers of static reading, and nothing in between: either the text leads to a definition of the
tree, or it leads out of the tree, or it does not say. The last is an answer with a reason, and the
reasons are counted: a call graph that hides what it could not follow is a guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from upstream_anchors.codebase_map.definitions import ClassTable, FunctionTable


@dataclass(frozen=True)
class Module:
    r"""A module of the tree, or a package on the way to one."""

    name: str


@dataclass(frozen=True, eq=False)
class ClassOf:
    r"""A class of the tree, as an object."""

    table: ClassTable


@dataclass(frozen=True, eq=False)
class FunctionOf:
    r"""A function of the tree; `receiver` is the class on which a method was looked up."""

    table: FunctionTable
    receiver: ClassTable | None = None


@dataclass(frozen=True)
class Instance:
    r"""An object that is declared, or was just made, as one of a class of the tree."""

    of: ClassTable


@dataclass(frozen=True)
class Super:
    r"""`super()` in a method of this class."""

    of: ClassTable


@dataclass(frozen=True)
class Items:
    r"""Something to iterate over, all of one kind."""

    item: Kind


@dataclass(frozen=True)
class Mapping:
    r"""A mapping, by the kinds of its keys and values."""

    key: Kind
    value: Kind


@dataclass(frozen=True)
class Row:
    r"""A tuple whose places have kinds of their own."""

    parts: tuple[Kind, ...]


@dataclass(frozen=True)
class Awaited:
    r"""What `await` turns into `result`."""

    result: Kind


@dataclass(frozen=True)
class Outside:
    r"""Something that the tree does not define, by its dotted name: a library's or a builtin."""

    name: str
    is_instance: bool = False


@dataclass(frozen=True)
class Unknown:
    r"""The text does not say, for this reason."""

    reason: str


Kind = (
    Module
    | ClassOf
    | FunctionOf
    | Instance
    | Super
    | Items
    | Mapping
    | Row
    | Awaited
    | Outside
    | Unknown
)

NONE = Outside("None", is_instance=True)
VALUE = Outside("builtins.object", is_instance=True)

#: Objects whose methods give nothing back that the tree defines.
CLOSED = frozenset(
    f"builtins.{name}" for name in ("str", "bytes", "int", "float", "bool", "complex", "object")
) | {"torch.Tensor", "torch.device", "torch.dtype", "torch.Size", "torch.Stream"}

# The reasons, each once, so that they can be counted.
NO_ANNOTATION = "a parameter without annotation"
NO_RETURN = "the result of a function that does not say what it returns"
DECORATED = "the result of a function behind a decorator that may change it"
FROM_OUTSIDE = "the result of a call that leaves the tree"
PASSED_IN = "a callable that was passed in"
ANYTHING = "declared as Any or object"
UNION = "one of several types"
TYPE_VARIABLE = "a type variable"
NO_TYPE = "an attribute or a variable whose type is not stated"
NOT_FOUND = "a name or an attribute that no definition gives"
OUTSIDE_FIRST = "a base class outside the tree comes first"
SEVERAL = "a name with several definitions"
CIRCULAR = "a definition that leads back to itself"
COMPUTED = "a callee that is computed"


def agreed(kinds: Iterable[Kind]) -> Kind:
    r"""The one kind that all agree on, `None` aside; else why there is none."""
    found: list[Kind] = []
    empty = False
    for kind in kinds:
        if kind == NONE:
            empty = True
        elif not any(same(kind, other) for other in found):
            found.append(kind)
    if not found:
        return NONE if empty else Unknown(NO_TYPE)
    if len(found) == 1:
        return found[0]
    return next((kind for kind in found if isinstance(kind, Unknown)), Unknown(UNION))


def same(left: Kind, right: Kind) -> bool:
    r"""Whether two kinds are one."""
    if isinstance(left, (ClassOf, FunctionOf)) and type(left) is type(right):
        return left.table is right.table
    return left == right
