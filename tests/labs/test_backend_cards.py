r"""The cards of the selector lab of phase 04, beside the classes of the pin that they describe."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from labkit.catalogue import Catalogue
from labkit.implementation import Implementation

ROOT = Path(__file__).parents[2]
TREE = ROOT / "upstream" / "vllm"
BACKENDS = {
    "FLASH_ATTN": ("flash_attn", "FlashAttentionBackend"),
    "FLASHINFER": ("flashinfer", "FlashInferBackend"),
    "TRITON_ATTN": ("triton_attn", "TritonAttentionBackend"),
    "FLEX_ATTENTION": ("flex_attention", "FlexAttentionBackend"),
    "TURBOQUANT": ("turboquant_attn", "TurboQuantAttentionBackend"),
}

pytestmark = pytest.mark.skipif(not TREE.is_dir(), reason="the pinned tree is not here")


@pytest.fixture(scope="module")
def lab():
    return Implementation("solution").load(Catalogue(ROOT).find("phase-04/lab-04").folder)


@cache
def parsed(path: str) -> ast.Module:
    return ast.parse((TREE / path).read_text(encoding="utf-8"))


def members(name: str) -> dict[str, ast.stmt]:
    r"""A backend's class body: annotated attributes and methods, by name."""
    file, wanted = BACKENDS[name]
    module = parsed(f"v1/attention/backends/{file}.py")
    [found] = [n for n in module.body if isinstance(n, ast.ClassDef) and n.name == wanted]
    attributes = {n.target.id: n for n in found.body if isinstance(n, ast.AnnAssign)}
    return attributes | {n.name: n for n in found.body if isinstance(n, ast.FunctionDef)}


def words_in(node: ast.AST) -> list:
    r"""Every name of a dtype and every constant below a node."""
    return [
        n.attr if isinstance(n, ast.Attribute) else n.value
        for n in ast.walk(node)
        if (isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == "torch")
        or isinstance(n, ast.Constant)
    ]


def returned(function: ast.FunctionDef) -> list:
    r"""What a function's last statement returns, as names and constants."""
    last = function.body[-1]
    assert isinstance(last, ast.Return)
    return words_in(last)


@pytest.mark.parametrize("name", BACKENDS)
def test_types_are_those_of_the_class(lab, name):
    card, body = lab.CARDS[name], members(name)
    assert set(card.dtypes) == set(words_in(body["supported_dtypes"].value))
    listed = set(words_in(body["supported_kv_cache_dtypes"].value))
    # FlashAttention lists the types that it always reads; a method adds the others by device.
    always = {dtype for dtype, where in card.kv_cache_dtypes.items() if where == lab.EVERYWHERE}
    assert always == listed


@pytest.mark.parametrize("name", BACKENDS)
def test_block_sizes_are_those_of_the_class(lab, name):
    assert list(lab.CARDS[name].block_sizes) == returned(
        members(name)["get_supported_kernel_block_sizes"]
    )


def test_head_sizes_are_those_of_the_classes(lab):
    flashinfer = returned(members("FLASHINFER")["get_supported_head_sizes"])
    assert list(lab.CARDS["FLASHINFER"].head_sizes) == flashinfer
    assert lab.CARDS["TRITON_ATTN"].head_min in returned(
        members("TRITON_ATTN")["supports_head_size"]
    )
    rules = words_in(members("FLASH_ATTN")["supports_head_size"])
    assert {lab.CARDS["FLASH_ATTN"].head_multiple, lab.CARDS["FLASH_ATTN"].head_max} <= set(rules)


def test_capabilities_are_those_of_the_classes(lab):
    assert returned(members("FLASH_ATTN")["supports_compute_capability"]) == [
        *lab.CARDS["FLASH_ATTN"].capabilities[0]
    ]
    low, high = lab.CARDS["FLASHINFER"].capabilities
    assert returned(members("FLASHINFER")["supports_compute_capability"]) == [*low, *high]


@pytest.mark.parametrize("name", BACKENDS)
def test_kinds_of_attention_are_those_of_the_class(lab, name):
    method = members(name).get("supports_attn_type")
    kinds = {"decoder"}
    if method is not None:
        names = {n.attr for n in ast.walk(method) if isinstance(n, ast.Attribute)}
        kinds = {kind.lower() for kind in names}
    assert set(lab.CARDS[name].attn_types) == kinds


def test_the_orders_are_those_of_the_pin(lab):
    [function] = [
        n
        for n in parsed("platforms/cuda.py").body
        if isinstance(n, ast.FunctionDef) and n.name == "_get_backend_priorities"
    ]
    by_kind = function.body[-1]
    by_device = by_kind.orelse[0]
    lists = [
        [element.attr for element in branch[0].value.elts]
        for branch in (by_device.body, by_device.orelse)
    ]
    assert lists == [lab.priorities((10, 0)), lab.priorities((9, 0))]
    assert ast.unparse(by_device.test) == "device_capability.major == 10"
