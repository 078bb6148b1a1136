r"""Could a Triton kernel run here, and if not, what stands in the way?

Asked before anything imports Triton, since an import takes about a second and fails where the
package has no build. The answer is all obstacles, not the first: whoever mends one wants to know
of the others.
"""

from __future__ import annotations

import os
from importlib.util import find_spec


def is_installed() -> bool:
    """Whether `import triton` would find something."""
    return find_spec("triton") is not None


def is_interpreted() -> bool:
    r"""Whether this process interprets its kernels rather than compile them.

    Reads the variable that Triton reads, `TRITON_INTERPRET`, by Triton's rule for truth. Right as
    long as nobody changed it after Triton was imported.
    """
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "yes", "on", "y")


def obstacles(device_type: str, capability: tuple[int, int] | None = None) -> list[str]:
    r"""Every reason why Triton kernels cannot run on tensors of `device_type`; empty if they can.

    `device_type` is torch's word, `"cuda"` or `"cpu"`; `capability` the compute capability of a
    CUDA device, where known: Triton compiles for 8.0 and later with matrix units that know
    bfloat16, and this package is tested for no older one. The CPU will do if the process interprets
    ({py:func}`is_interpreted`).
    """
    found = []
    if not is_installed():
        found.append("triton is not installed")
    if device_type != "cuda" and not is_interpreted():
        found.append(
            f"Triton kernels run on cuda, not on {device_type} "
            "(TRITON_INTERPRET=1 interprets them anywhere, slowly)"
        )
    if capability is not None and capability < (8, 0):
        found.append(
            f"the Triton kernels need compute capability 8.0, this device has "
            f"{capability[0]}.{capability[1]}"
        )
    return found
