r"""What did the compiler make of it, and do I need a GPU to find out?

No. Triton's compiler takes the kernel, the types of its arguments and the device to compile for,
and nothing of it asks whether such a device is present: the machine code of a GPU is made on a CPU
like that of any other machine. So every kernel of this package is compiled for two generations of
devices by the tests of a laptop, which finds what the interpreter lets pass (a product of too
small a tile, a type that the device does not have), and the book shows what became of a kernel
without ever having run it.

{py:func}`compile_launches` takes a call of a launch function, with tensors of torch's `meta`
device that have a shape and no memory, and compiles each kernel that the call would have launched,
with the same constants, types and promises. {py:func}`compile_kernel` is the step below it, for a
kernel with types given by hand. Both give {py:class}`CompiledKernel`s. Four things in it are worth
a look:

- the **PTX**, the portable assembly. A load of `v4` is four registers wide, a `cp.async` travels to
  shared memory while the program goes on, `mma.sync` or `wgmma` is a matrix unit at work;
- the **registers** a thread holds. A multiprocessor has a fixed number of them; the more a thread
  takes, the fewer threads are there to hide each other's waiting;
- the **shared memory** a program takes, which bounds programs in the same way;
- the **stack**. Above zero, something did not fit into registers and lives in memory, at its speed.

Imports Triton, which must compile rather than interpret in this process.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from mini_vllm.kernels.triton.availability import is_interpreted

#: Generations that every kernel must compile for: NVIDIA's Ampere and Hopper.
CAPABILITIES = (80, 90)
_RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)")


@dataclass(frozen=True)
class CompiledKernel:
    r"""A kernel as machine code for devices of one compute capability (90 stands for 9.0).

    `registers` and `stack_bytes` are a thread's, `shared_bytes` a program's, `num_warps` how many
    groups of 32 threads share a program.
    """

    name: str
    capability: int
    ptx: str = field(repr=False)
    cubin: bytes = field(repr=False)
    registers: int
    stack_bytes: int
    shared_bytes: int
    num_warps: int
    triton_version: str

    def count(self, pattern: str) -> int:
        """How many lines of the PTX match a regular expression."""
        return sum(re.search(pattern, line) is not None for line in self.ptx.splitlines())


def compile_kernel(
    kernel: Any,
    signature: Mapping[str, str],
    constants: Mapping[str, Any],
    capability: int,
    *,
    num_warps: int = 4,
    num_stages: int = 3,
) -> CompiledKernel:
    r"""Compile a `@triton.jit` function for devices of `capability`, on any machine.

    `signature` gives each argument its Triton type: `"*bf16"` is a pointer, `"i32"` a number, and
    a suffix `":16"` promises that the number, or the address, is a multiple of 16. A launch makes
    that promise by itself where it holds, and it decides whether loads can be wide. `constants`
    are the arguments that the kernel was compiled for, its `tl.constexpr` ones among them.

    Raises `ValueError` for an argument that is in neither or in both, and `RuntimeError` in a
    process that interprets.
    """
    if is_interpreted():
        raise RuntimeError("this process interprets kernels: unset TRITON_INTERPRET to compile")
    doubled = signature.keys() & constants.keys()
    missing = [n for n in kernel.arg_names if n not in signature and n not in constants]
    unknown = [n for n in (*signature, *constants) if n not in kernel.arg_names]
    for problem, names in (
        ("both typed and constant", sorted(doubled)),
        ("neither typed nor constant", missing),
        ("no arguments", unknown),
    ):
        if names:
            raise ValueError(f"{kernel.__name__}: {problem}: {', '.join(names)}")
    types, attributes = {}, {}
    for place, name in enumerate(kernel.arg_names):
        kind, _, multiple = signature.get(name, "constexpr").partition(":")
        types[name] = kind
        if multiple:
            attributes[(place,)] = [["tt.divisibility", int(multiple)]]
    compiled = triton.compile(
        ASTSource(kernel, types, dict(constants), attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": num_warps, "num_stages": num_stages},
    )
    registers, stack = _resources(compiled.asm["cubin"])
    return CompiledKernel(
        name=kernel.__name__,
        capability=capability,
        ptx=compiled.asm["ptx"],
        cubin=compiled.asm["cubin"],
        registers=registers,
        stack_bytes=stack,
        shared_bytes=compiled.metadata.shared,
        num_warps=num_warps,
        triton_version=triton.__version__,
    )


@dataclass(frozen=True)
class Launch:
    r"""A kernel, its grid, and what it would be compiled for."""

    kernel: Any
    grid: tuple[int, ...]
    signature: dict[str, str]
    constants: dict[str, Any]
    options: dict[str, int]


def recorded_launches(call: Callable[[], object]) -> list[Launch]:
    r"""The launches that `call` makes, none of which is carried out.

    Results are uninitialised, so `call` must not look at them. Addresses are taken to be multiples
    of 16, as torch's allocator gives them; numbers get the promise if they keep it, and a 1 becomes
    a constant, as in a real launch.
    """
    launches: list[Launch] = []

    def record(self: Any, *arguments: Any, grid: Any, warmup: bool, **named: Any) -> None:
        launches.append(_launch_of(self, arguments, grid, named))

    function: Any = JITFunction
    run, function.run = function.run, record
    try:
        call()
    finally:
        function.run = run
    return launches


def compile_launches(call: Callable[[], object], capability: int) -> list[CompiledKernel]:
    r"""Compile every kernel that `call` would launch, in the order of the launches.

    ```python
    x = torch.empty(64, 2048, dtype=torch.bfloat16, device="meta")
    (kernel,) = compile_launches(lambda: silu_and_mul(x), capability=90)
    ```
    """
    return [
        compile_kernel(
            launch.kernel, launch.signature, launch.constants, capability, **launch.options
        )
        for launch in recorded_launches(call)
    ]


_TYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int64: "i64",
    torch.int32: "i32",
    torch.uint8: "u8",
    torch.int8: "i8",
    torch.bool: "i1",
}


def _launch_of(kernel: Any, arguments: tuple, grid: Any, named: dict[str, Any]) -> Launch:
    names: tuple[str, ...] = ("num_warps", "num_stages")
    options = {key: named.pop(key) for key in names if key in named}
    values = dict(zip(kernel.arg_names, arguments)) | named
    signature, constants = {}, {}
    for parameter in kernel.params:
        name, value = parameter.name, values[parameter.name]
        is_one = isinstance(value, int) and not isinstance(value, bool) and value == 1
        if parameter.is_constexpr or value is None or is_one:
            constants[name] = value
        else:
            signature[name] = _type_of(value)
    shape = grid(values) if callable(grid) else grid
    return Launch(kernel, tuple(shape), signature, constants, options)


def _type_of(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        aligned = value.storage_offset() * value.itemsize % 16 == 0
        return f"*{_TYPES[value.dtype]}" + ":16" * aligned
    if isinstance(value, bool):
        return "i1"
    if isinstance(value, int):
        return ("i32" if -(2**31) <= value < 2**31 else "i64") + ":16" * (value % 16 == 0)
    if isinstance(value, float):
        return "fp32"
    raise TypeError(f"a kernel's argument of type {type(value).__name__}")


def _resources(cubin: bytes) -> tuple[int, int]:
    # Only a loaded kernel has its registers counted by Triton; the tool that reads them from the
    # machine code comes in the same package.
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = _RESOURCES.search(told)
    if found is None:
        raise RuntimeError(f"cuobjdump says nothing of registers: {told!r}")
    return int(found[1]), int(found[2])
