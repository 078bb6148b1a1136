r"""The launches whose machine code the book shows, and the command that compiles them.

A specimen is a call of a launch function with tensors that have a shape and no memory; compiling it
needs Triton and no device. `python -m book.specimens FOLDER [NAME ...]` compiles those that
`FOLDER` lacks, for every capability, into one JSON file each, named by what the code depends on
({py:func}`file_name`): the sources of all kernels, this file, Triton's version.

Another kernel on a page: write its function below, add it to {py:data}`SPECIMENS`, and name it in
`{ptx}`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from upstream_anchors.whole_files import write_whole

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ROOT / "mini_vllm" / "kernels" / "triton"
CAPABILITIES = (80, 90)


@dataclass(frozen=True)
class Specimen:
    """What is launched, in words, and the call; `kernel` picks one if the call launches several."""

    shape: str
    call: Callable[[], object]
    kernel: str


def _empty(*shape: int, kind: str = "bfloat16"):
    import torch

    return torch.empty(shape, dtype=getattr(torch, kind), device="meta")


def _write_kv() -> None:
    from mini_vllm.kernels.triton.kv_write import write_kv

    key, caches = _empty(64, 8, 128), _empty(2, 4096, 8, 16, 128)
    write_kv(key, key, *caches, _empty(64, kind="int64"))


def _add_rms_norm() -> None:
    from mini_vllm.kernels.triton.norm import add_rms_norm

    x, weight = _empty(64, 4096), _empty(4096)
    add_rms_norm(x, x, weight, 1e-6)


def _silu_and_mul() -> None:
    from mini_vllm.kernels.triton.activation import silu_and_mul

    silu_and_mul(_empty(64, 2 * 12288))


def _rotary() -> None:
    from mini_vllm.kernels.triton.rotary import split_qkv_rotary

    qkv, positions, table = _empty(64, 48 * 128), _empty(64, kind="int64"), _empty(40960, 128)
    norm = _empty(128)
    split_qkv_rotary(qkv, positions, table, 32, 8, norm, norm)


def _race() -> None:
    from mini_vllm.kernels.triton.race import race

    scores = _empty(64, 151936, kind="float32")
    race(scores, _empty(64, kind="float32"), scores)


def _top_k_top_p() -> None:
    from mini_vllm.kernels.triton.top_k_top_p import apply_top_k_top_p

    scores, top_p = _empty(64, 151936, kind="float32"), _empty(64, kind="float32")
    apply_top_k_top_p(scores, _empty(64, kind="int64"), top_p)


def _linear(rows: int) -> Callable[[], None]:
    def call() -> None:
        from mini_vllm.kernels.triton.linear import linear

        linear(_empty(rows, 4096), _empty(12288, 4096))

    return call


def _attention(query_len: int, num_reqs: int, seq_len: int) -> Callable[[], None]:
    def call() -> None:
        from mini_vllm.kernels.split_kv import plan_launch
        from mini_vllm.kernels.triton.unified_attention import unified_attention

        plan = plan_launch(
            num_queries=query_len * num_reqs,
            num_reqs=num_reqs,
            max_query_len=query_len,
            max_seq_len=seq_len,
            num_heads=32,
            num_kv_heads=8,
            head_size=128,
            element_bytes=2,
            num_processors=132,
        )
        table = _empty(num_reqs, seq_len // 16, kind="int32")
        starts, lengths = _empty(num_reqs + 1, kind="int32"), _empty(num_reqs, kind="int32")
        query, caches = _empty(query_len * num_reqs, 32, 128), _empty(2, 65536, 8, 16, 128)
        unified_attention(query, *caches, table, starts, lengths, 128**-0.5, plan)

    return call


SPECIMENS = {
    "attention-decode": Specimen(
        "64 requests of 1 in 4,096 tokens, 32 / 8 heads of 128, bfloat16",
        _attention(1, 64, 4096),
        "unified_attention_kernel",
    ),
    "attention-prefill": Specimen(
        "a prompt of 2,048 tokens, 32 / 8 heads of 128, bfloat16",
        _attention(2048, 1, 2048),
        "unified_attention_kernel",
    ),
    "write-kv": Specimen("64 tokens of 8 heads of 128, bfloat16", _write_kv, "write_kv_kernel"),
    "add-rms-norm": Specimen("64 rows of 4,096, bfloat16", _add_rms_norm, "rms_norm_kernel"),
    "silu-and-mul": Specimen("64 rows of 12,288, bfloat16", _silu_and_mul, "silu_and_mul_kernel"),
    "rotary": Specimen(
        "64 tokens, 32 + 8 + 8 normed heads of 128, bfloat16", _rotary, "split_qkv_rotary_kernel"
    ),
    "race": Specimen("64 rows of 151,936 scores, float32", _race, "best_of_piece_kernel"),
    "top-k-top-p": Specimen(
        "64 rows of 151,936 scores, float32", _top_k_top_p, "top_k_top_p_kernel"
    ),
    "linear-decode": Specimen("16 x 4,096 by 12,288, bfloat16", _linear(16), "linear_kernel"),
    "linear-prefill": Specimen("2,048 x 4,096 by 12,288, bfloat16", _linear(2048), "linear_kernel"),
}


@lru_cache(maxsize=1)
def _sources(stamp: float) -> str:
    digest = hashlib.sha256()
    for path in (Path(__file__), ROOT / "book" / "ptx.py", *sorted(KERNELS.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def file_name(specimen: str, capability: int, triton_version: str) -> str:
    """The name of a specimen's file: a different one for anything that its code depends on."""
    stamp = max(path.stat().st_mtime for path in (*KERNELS.glob("*.py"), Path(__file__)))
    parts = f"{_sources(stamp)} {specimen} {capability} {triton_version}"
    return f"{specimen}-sm{capability}-{hashlib.sha256(parts.encode()).hexdigest()[:16]}.json"


def compile_all(folder: Path, names: Iterable[str] = ()) -> list[Path]:
    """Compile what `folder` lacks, of `names` or of all; returns the new files."""
    # Only here, in a process of its own: the name of a file is asked where there is no Triton.
    from book.ptx import Code, instructions
    from mini_vllm.kernels.triton import compiling

    version, made = metadata.version("triton"), []
    for name in names or SPECIMENS:
        specimen = SPECIMENS[name]
        missing = [
            (folder / file_name(name, capability, version), capability)
            for capability in CAPABILITIES
        ]
        missing = [(path, capability) for path, capability in missing if not path.exists()]
        if not missing:
            continue
        (launch,) = (
            launch
            for launch in compiling.recorded_launches(specimen.call)
            if launch.kernel.__name__ == specimen.kernel
        )
        for path, capability in missing:
            kernel = compiling.compile_kernel(
                launch.kernel, launch.signature, launch.constants, capability, **launch.options
            )
            code = Code(
                kernel=kernel.name,
                shape=specimen.shape,
                grid=launch.grid,
                capability=capability,
                registers=kernel.registers,
                stack_bytes=kernel.stack_bytes,
                shared_bytes=kernel.shared_bytes,
                threads=32 * kernel.num_warps,
                triton_version=kernel.triton_version,
                lines=instructions(kernel.ptx),
            )
            write_whole(path, json.dumps(asdict(code), indent=1) + "\n")
            made.append(path)
    return made


if __name__ == "__main__":
    compile_all(Path(sys.argv[1]), sys.argv[2:])
