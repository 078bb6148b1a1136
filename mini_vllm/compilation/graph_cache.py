r"""When may a compiled piece be used again?

When nothing that it was made from has changed, and that is more than the model. Tracing reads the
code of every layer it passes; the compiler is torch's and generates for this processor or device;
the configuration decides types and shapes. A key that forgets one of these gives yesterday's code
for today's question, and no error. So the key is a hash over all of it, with the list kept beside
what it stands for:

- **configuration**: the checkpoint's own, the type to compute in, the device, the settings of the
  compiler;
- **code**: every file of the rooms that are traced, by content;
- **versions**: Python, torch, and what the processor can do.

Each key has a folder of its own ({py:func}`use_cache`), which torch's compiler is pointed to by
`TORCHINDUCTOR_CACHE_DIR`. Torch has a cache of its own anyway, one folder for each user, shared by
all programs. When this engine was built, a program was killed while it wrote there, and the next
one found half a library. A folder for each key keeps apart what does not belong together, and can
be thrown away by name.

Upstream names its folder in the same way, after environment, configuration, code and compiler:
{up}`vllm/compilation/backends.py#VllmBackend.__call__@"factors = [env_hash, config_hash, code"`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import mini_vllm.compilation
import mini_vllm.kernels
import mini_vllm.layers
import mini_vllm.models
from mini_vllm.config import EngineConfig

#: Rooms whose code a compiled piece is made from.
TRACED = (mini_vllm.compilation, mini_vllm.kernels, mini_vllm.layers, mini_vllm.models)


def cache_factors(config: EngineConfig, device: str) -> dict[str, Any]:
    """Everything that a compiled piece depends on, in words and hashes."""
    model = config.model_config
    return {
        "model": dict(model.hf_config),
        "dtype": model.resolved_dtype(),
        "max_model_len": model.max_model_len,
        "device": device,
        "backend": config.compilation_config.backend,
        "code": {room.__name__: _hash_of_code(Path(room.__path__[0])) for room in TRACED},
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }


def cache_key(factors: Mapping[str, Any]) -> str:
    """The factors as one name: equal factors, equal name, in whatever order they come."""
    text = json.dumps(factors, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def use_cache(config: EngineConfig, device: str) -> tuple[Path, bool]:
    r"""Point torch's compiler to the folder of this key; returns it, and whether it was there.

    The folder lies in `cache_dir`, or else in the user's folder for caches (`XDG_CACHE_HOME`).
    Changes an environment variable of this process, since that is where torch looks whenever it
    compiles: {up}`vllm/compilation/compiler_interface.py#InductorAdaptor.initialize_cache`.
    """
    factors = cache_factors(config, device)
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mini_vllm"
    home = Path(config.compilation_config.cache_dir or usual / "torch_compile")
    folder = home / cache_key(factors)
    was_there = (folder / "factors.json").exists()
    folder.mkdir(parents=True, exist_ok=True)
    if not was_there:
        text = json.dumps(factors, indent=1, sort_keys=True, default=str)
        (folder / "factors.json").write_text(text, encoding="utf-8")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    return folder, was_there


def _hash_of_code(room: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(room.rglob("*.py")):
        digest.update(str(path.relative_to(room)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
