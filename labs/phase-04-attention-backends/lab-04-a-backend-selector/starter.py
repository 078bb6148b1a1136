r"""Who computes attention here? Cards, reasons, an order, and a choice that can be explained.

A *card* says what a backend can do, a *need* what one kind of layer of a model wants on one device.
A backend fits a need when nothing stands against it. Of those that fit, the first in the order of
the device is taken; whoever was passed over is kept, with everything that stood against it.

A device's *capability* is a pair, major and minor: `(8, 0)` is an A100, `(9, 0)` an H100, `(10, 0)`
a B200, `(12, 0)` the desktop cards of the same generation. Pairs compare as Python's tuples do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Capability = tuple[int, int]

#: From the first to the second, both included.
Range = tuple[Capability, Capability]

EVERYWHERE: Range = ((0, 0), (99, 9))
SIXTEEN_BIT = ("float16", "bfloat16")
ANY_FLOAT = ("float16", "bfloat16", "float32")
EVERY_ATTENTION = ("decoder", "encoder", "encoder_only", "encoder_decoder")
LIKE_THE_MODEL = {"auto": EVERYWHERE, "float16": EVERYWHERE, "bfloat16": EVERYWHERE}


class Card(NamedTuple):
    r"""What one backend can do.

    `head_sizes` empty means every size that `head_multiple`, `head_min` and `head_max` allow.
    `block_sizes` are those that its kernels were written for. `kv_cache_dtypes` says, for each type
    of the cache, on which devices; `sinks` on which devices a layer may have attention sinks
    (`None`: nowhere). `layout` is the order of the cache's dimensions that it insists on, if any.
    """

    dtypes: Sequence[str] = SIXTEEN_BIT
    kv_cache_dtypes: Mapping[str, Range] = LIKE_THE_MODEL
    head_sizes: Sequence[int] = ()
    head_multiple: int = 1
    head_min: int = 1
    head_max: int = 1 << 20
    block_sizes: Sequence[int] = (16,)
    capabilities: Range = EVERYWHERE
    sinks: Range | None = None
    attn_types: Sequence[str] = ("decoder",)
    layout: str | None = None


class Need(NamedTuple):
    r"""What a layer wants, and where. `block_size` is `None` unless the user has fixed one."""

    capability: Capability = (9, 0)
    head_size: int = 128
    dtype: str = "bfloat16"
    kv_cache_dtype: str = "auto"
    block_size: int | None = None
    has_sinks: bool = False
    attn_type: str = "decoder"


class Reason(NamedTuple):
    r"""One thing that stands against a backend: the field of the need, and its value there."""

    field: str
    value: object

    def __str__(self) -> str:
        return f"{self.field} {self.value}"


#: What stands against a backend whose package is missing.
NOT_INSTALLED = Reason("installed", False)


class NoBackend(ValueError):
    r"""Nobody can serve the need; `against` has, for each who was asked, what stood against it."""

    def __init__(self, message: str, against: Mapping[str, Sequence[Reason]]) -> None:
        told = "; ".join(f"{name}: {', '.join(map(str, why))}" for name, why in against.items())
        super().__init__(f"{message} ({told})" if told else message)
        self.against = dict(against)


class Choice(NamedTuple):
    r"""Who was chosen, everybody who fits (best first), and why the others do not."""

    name: str
    valid: list[str]
    passed_over: dict[str, list[Reason]]


class Plan(NamedTuple):
    r"""The backend of each layer, by the layer's name, and the one layout of the cache."""

    backends: dict[str, str]
    layout: str


#: Five backends of vLLM, as their cards read at the pin, with what this lab leaves out left out.
CARDS: dict[str, Card | None] = {
    "FLASH_ATTN": Card(
        kv_cache_dtypes=LIKE_THE_MODEL | dict.fromkeys(("fp8", "fp8_e4m3"), ((9, 0), (9, 9))),
        head_multiple=8,
        head_max=256,
        capabilities=((8, 0), (99, 9)),
        sinks=((9, 0), (10, 9)),
        attn_types=EVERY_ATTENTION,
    ),
    "FLASHINFER": Card(
        kv_cache_dtypes=LIKE_THE_MODEL
        | dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2", "nvfp4"), EVERYWHERE),
        head_sizes=(64, 128, 256, 512),
        block_sizes=(16, 32, 64),
        capabilities=((7, 5), (12, 1)),
        sinks=((10, 0), (10, 9)),
    ),
    "TRITON_ATTN": Card(
        dtypes=ANY_FLOAT,
        kv_cache_dtypes=LIKE_THE_MODEL
        | dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2"), EVERYWHERE)
        | dict.fromkeys(("int8_per_token_head", "fp8_per_token_head"), EVERYWHERE),
        head_min=32,
        sinks=EVERYWHERE,
        attn_types=EVERY_ATTENTION,
    ),
    "FLEX_ATTENTION": Card(dtypes=ANY_FLOAT, attn_types=("decoder", "encoder_only")),
    "TURBOQUANT": Card(
        kv_cache_dtypes=dict.fromkeys(
            ("turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc"),
            EVERYWHERE,
        ),
        block_sizes=(16, 32, 64, 128),
    ),
}


def within(capability: Capability, bounds: Range) -> bool:
    r"""Whether a device lies in a range, both ends included."""
    low, high = bounds
    return low <= capability <= high


def block_size_for(card: Card, default: int) -> int:
    r"""The block size that a backend works with when nobody has fixed one.

    A cache may have larger blocks than the kernel: a block that is a multiple of a size that the
    kernel was written for is cut into several. So the default is kept if it is such a multiple, and
    the smallest of the kernel's own sizes is taken otherwise.
    """
    # TODO task 1: find a block size that fits
    raise NotImplementedError("task 1: find a block size that fits")


def reasons(card: Card, need: Need) -> list[Reason]:
    r"""Everything that stands against a backend, in the order of the need's fields below.

    `head_size`, `dtype`, `kv_cache_dtype`, `block_size`, `has_sinks`, `capability`, `attn_type`:
    each at most once, with the value that the need has there. Empty if it fits. A block size that
    nobody has fixed stands against nobody, and sinks only where the need has them. A type of the
    cache counts as lacking also where this *device* lacks it.
    """
    # TODO task 2: say all that stands against a backend
    raise NotImplementedError("task 2: say all that stands against a backend")


def priorities(capability: Capability) -> list[str]:
    r"""The names of {py:data}`CARDS` in the order in which a device tries them.

    FlashAttention, FlashInfer, Triton, FlexAttention, TurboQuant; and on devices of major
    capability 10, and of no other, FlashInfer before FlashAttention.
    """
    # TODO task 3: know the order of a device
    raise NotImplementedError("task 3: know the order of a device")


def choose(cards: Mapping[str, Card | None], need: Need, requested: str = "auto") -> Choice:
    r"""The backend for a need, and the account of the choice.

    A card that is `None` belongs to a package that is not installed: {py:data}`NOT_INSTALLED` is
    all that stands against it. Names without a card are not tried. With `requested="auto"` all are
    asked, in the order of {py:func}`priorities`, and the first that fits is taken. Any other word
    names the one that shall be used: nobody else is asked, and nobody takes its place.

    Raises {py:class}`NoBackend` when nobody fits, when the named one does not, and when there is
    none of that name; `against` holds those that were asked.
    """
    # TODO task 4: choose, and keep the account
    raise NotImplementedError("task 4: choose, and keep the account")


def lost_to_the_block_size(choice: Choice, capability: Capability) -> list[str]:
    r"""Backends that would have been preferred, and that the user's block size alone has excluded.

    Best first. That is worth a warning: to leave the block size alone would have been faster.
    """
    # TODO task 5: tell what a flag has cost
    raise NotImplementedError("task 5: tell what a flag has cost")


def plan_layers(
    cards: Mapping[str, Card | None], layers: Mapping[str, Need], requested: str = "auto"
) -> Plan:
    r"""A backend for every layer of a model, and the layout of the cache that all of them share.

    Layers may differ: in head size, in sinks. Each distinct need is decided once, however many
    layers have it, since a choice looks packages up and writes a line to the log. The layout is
    `"NHD"` unless a chosen backend's card insists on another; if two insist on different ones,
    {py:class}`NoBackend` says which layers they serve.
    """
    # TODO task 6: decide for a whole model
    raise NotImplementedError("task 6: decide for a whole model")


def main() -> None:
    r"""Print who computes attention on five devices, for a float16 model with heads of 128."""
    devices = {"T4": (7, 5), "A100": (8, 0), "H100": (9, 0), "B200": (10, 0), "RTX 5090": (12, 0)}
    rows = {
        "as it comes": {},
        "float32": {"dtype": "float32"},
        "fp8 cache": {"kv_cache_dtype": "fp8"},
        "heads of 80": {"head_size": 80},
        "with sinks": {"has_sinks": True},
        "blocks of 24": {"block_size": 24},
    }
    print((f"{'':<14}" + "".join(f"{name:<16}" for name in devices)).rstrip())
    for row, wants in rows.items():
        cells = []
        for capability in devices.values():
            need = Need(**{"capability": capability, "dtype": "float16", **wants})
            try:
                cells.append(choose(CARDS, need).name)
            except NoBackend:
                cells.append("-")
        print((f"{row:<14}" + "".join(f"{cell:<16}" for cell in cells)).rstrip())
    print("\nfloat32 on an H100, and who was passed over:")
    for name, why in choose(CARDS, Need(dtype="float32")).passed_over.items():
        print(f"  {name}: {', '.join(map(str, why))}")


if __name__ == "__main__":
    main()
