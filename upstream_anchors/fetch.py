r"""How does the pinned tree get onto this machine?

Either it is there and right, and nothing happens; or it is downloaded, verified twice (the
archive's hash, then the commit id inside) and moved into place in one rename. There is no moment at
which `upstream/` holds half a tree: everything before the rename happens in a staging folder that
is removed whatever goes wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from rich.console import Console

from upstream_anchors.errors import TreeError
from upstream_anchors.pin import CACHE_DIR, Pin
from upstream_anchors.pip_sources import PipSources
from upstream_anchors.sdist import download_sdist, unpack_sdist
from upstream_anchors.tree import DEFAULT_TREE, MARKER, TREE_VARIABLE, Tree, verify_tree

_STAGING = "fetch-"
_ABANDONED_AFTER_S = 24 * 3600


def provide_tree(
    pin: Pin,
    *,
    root: Path | None = None,
    destination: Path = DEFAULT_TREE,
    cache_dir: Path = CACHE_DIR,
    sources: PipSources | None = None,
    console: Console | None = None,
) -> tuple[Tree, str]:
    r"""The verified tree, fetched if need be, and a word on what was done.

    A tree named by `root` or by `VLLM_UPSTREAM_TREE` is verified and never written to. In the
    default place, a tree of another version is replaced if this command made it, and is an error if
    somebody else did.

    Raises {py:class}`.TreeError`, or its kin {py:class}`.UnreachableError` when only the network is
    to blame.
    """
    console = console or Console(stderr=True)
    if root is not None:
        return verify_tree(pin, root, named_by="the --tree option"), "named by --tree, verified"
    if named := os.environ.get(TREE_VARIABLE):
        path = Path(named).expanduser()
        return verify_tree(pin, path, named_by=TREE_VARIABLE), f"named by {TREE_VARIABLE}, verified"
    if destination.exists():
        try:
            return verify_tree(pin, destination, named_by="the default place"), "already there"
        except TreeError:
            if not (destination / MARKER).is_file():
                raise
    _fetch(pin, destination, cache_dir, sources or PipSources.from_configuration(), console)
    return verify_tree(pin, destination, named_by="the default place"), "fetched and verified"


def _fetch(
    pin: Pin, destination: Path, cache_dir: Path, sources: PipSources, console: Console
) -> None:
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(cache_dir)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=cache_dir))
    except OSError as error:
        raise TreeError(f"{cache_dir} cannot be written to: {error}") from error
    try:
        archive = download_sdist(pin, sources, staging, console)
        unpacked = unpack_sdist(archive, staging / "tree", console)
        verify_tree(pin, unpacked, named_by="the sdist just unpacked")
        record = {"version": pin.version, "commit": pin.commit, "sdist_sha256": pin.sdist_sha256}
        (unpacked / MARKER).write_text(json.dumps(record) + "\n", encoding="utf-8")
        _swap(unpacked, destination, staging / "old")
    except OSError as error:
        raise TreeError(f"The tree could not be put at {destination}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(new: Path, destination: Path, old: Path) -> None:
    if destination.exists():
        destination.rename(old)
    try:
        new.rename(destination)
    except OSError:
        if old.exists():
            old.rename(destination)
        raise


def _remove_abandoned(cache_dir: Path) -> None:
    # What a killed run left behind; a staging folder of today may belong to a run in progress.
    for folder in cache_dir.glob(f"{_STAGING}*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(folder, ignore_errors=True)
