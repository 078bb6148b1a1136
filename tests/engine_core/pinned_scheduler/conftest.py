"""The modules of this folder import each other as `pinned_scheduler.…`, here and as a command."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = str(Path(__file__).parents[1])
if FOLDER not in sys.path:
    sys.path.append(FOLDER)
