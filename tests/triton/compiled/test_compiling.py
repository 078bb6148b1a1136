"""Machine code for devices that are not here."""

from __future__ import annotations

import pytest
import triton
import triton.language as tl

from mini_vllm.kernels.triton.compiling import CAPABILITIES, compile_kernel
from mini_vllm.kernels.triton.language import INTERPRET, dot


@triton.jit
def product_kernel(a, b, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    left = tl.load(a + m[:, None] * K + k)
    right = tl.load(b + k[:, None] * N + n)
    tl.store(out + m[:, None] * N + n, dot(left, right, tl.zeros((M, N), tl.float32)))


POINTERS = {"a": "*bf16:16", "b": "*bf16:16", "out": "*fp32:16"}
TILE = {"M": 64, "N": 64, "K": 64}


def test_this_process_compiles() -> None:
    assert INTERPRET.value is False


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_product_reaches_the_matrix_unit(capability: int) -> None:
    code = compile_kernel(product_kernel, POINTERS, TILE, capability)
    unit = {80: r"mma\.sync.*bf16", 90: r"wgmma\.mma_async.*bf16"}[capability]
    assert code.count(unit) > 0
    assert f".target sm_{capability}" in code.ptx
    assert code.cubin.startswith(b"\x7fELF")
    assert 0 < code.registers <= 255
    assert code.stack_bytes == 0
    assert code.shared_bytes >= 2 * 64 * 64
    assert (code.name, code.capability, code.num_warps) == ("product_kernel", capability, 4)
    assert code.triton_version == triton.__version__


def test_a_promise_of_alignment_makes_loads_wide() -> None:
    wide = compile_kernel(product_kernel, POINTERS, TILE, 80)
    bare = {name: kind.removesuffix(":16") for name, kind in POINTERS.items()}
    narrow = compile_kernel(product_kernel, bare, TILE, 80)
    pattern = r"cp\.async.*0x10|ld\.global\.v4"
    assert wide.count(pattern) > narrow.count(pattern) == 0


def test_what_does_not_fit_into_registers_is_told() -> None:
    fits = compile_kernel(product_kernel, POINTERS, TILE, 80)
    crowded = compile_kernel(product_kernel, POINTERS, {"M": 256, "N": 256, "K": 16}, 80)
    assert crowded.stack_bytes > fits.stack_bytes == 0


def test_the_same_source_gives_the_same_code() -> None:
    one, two = (compile_kernel(product_kernel, POINTERS, TILE, 80) for _ in range(2))
    assert one == two


def test_a_tile_that_the_interpreter_takes_and_a_device_does_not() -> None:
    with pytest.raises(triton.CompilationError) as refusal:
        compile_kernel(product_kernel, POINTERS, TILE | {"K": 8}, 90)
    assert "K >= 16" in str(refusal.value.__cause__)


@pytest.mark.parametrize(
    ("signature", "constants", "message"),
    [
        (POINTERS, {"M": 16, "N": 16}, "neither typed nor constant: K"),
        (POINTERS | {"K": "i32"}, TILE, "both typed and constant: K"),
        (POINTERS | {"bias": "*fp32"}, TILE, "no arguments: bias"),
    ],
)
def test_an_argument_forgotten_is_named(signature, constants, message) -> None:
    with pytest.raises(ValueError, match=message):
        compile_kernel(product_kernel, signature, constants, 80)


def test_a_process_that_interprets_cannot_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(RuntimeError, match="unset TRITON_INTERPRET"):
        compile_kernel(product_kernel, POINTERS, TILE, 80)
