r"""stub"""

from __future__ import annotations
from typing import Any


class PieceCompiler:
    def __init__(self, config: Any, device: str) -> None: ...

    warm_up_rows = (2, 1)

    def __call__(self, name: str, piece: Any) -> Any:
        return piece
