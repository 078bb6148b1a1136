r"""What did the compiler make of it, and do I need a GPU to find out?

No. Triton's compiler takes the kernel, the types of its arguments and the device to compile for,
and nothing of it asks whether such a device is present: the machine code of a GPU is made on a CPU
like that of any other machine. So every kernel of this package is compiled for two generations of
devices by the tests of a laptop, which finds what the interpreter lets pass (a product of too
small a tile, a type that the device does not have), and the book shows what became of a kernel
without ever having run it.

{py:func}`compile_kernel` returns a {py:class}`CompiledKernel`. Four things in it are worth a look:

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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

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
