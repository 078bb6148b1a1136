r"""Which other releases are there, and where do their trees lie on this machine?

The pin's hash is written down by hand; nobody wrote down the hash of any other release. So the
index's own statement is taken, the archive is compared with it, and what was found is kept beside
the tree and goes into the record: two people whose records disagree can see whether they looked at
the same file.

A release is unpacked once, into the package's cache, without its pictures, and then never written
to. The archive is not kept.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import InvalidVersion, Version
from rich.console import Console

from upstream_anchors.errors import TreeError
from upstream_anchors.pin import CACHE_DIR, Pin, the_pin
from upstream_anchors.pip_sources import PipSources
from upstream_anchors.sdist import (
    download_unpinned,
    first_answer,
    sdist_links,
    sha256_of,
    unpack_sdist,
)
from upstream_anchors.tree import MARKER, Tree, read_identity

RELEASES_DIR = CACHE_DIR / "releases"

# No anchor can name one, and they are a tenth of the bytes.
_PICTURES = (".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp", ".ico", ".pdf", ".mp4", ".wav")


@dataclass(frozen=True)
class Release:
    r"""One release and what is known of the archive that its tree came from.

    `sha256_from` is `index` when the source stated the hash, and `archive` when it stated none and
    the hash was only computed.
    """

    version: str
    commit: str
    sdist_sha256: str
    sha256_from: str = "index"


class UnknownReleaseError(TreeError):
    r"""A version that no source has; the message names the nearest ones that there are."""


def known_versions(pin: Pin | None = None, sources: PipSources | None = None) -> list[str]:
    r"""Every version of the project that has an sdist, oldest first, by asking the index.

    Pre-releases are left out: no reader is told to install one.
    {py:class}`.UnreachableError` without a network.
    """
    pin = pin or the_pin()
    sources = sources or PipSources.from_configuration()

    def ask(kind: str, url: str | None) -> list[str] | None:
        _, links = sdist_links(
            pin.project, sources, kind, url, lambda it: it.find_all_packages(pin.project)
        )
        return [_version_of(link.filename, pin) for link in links] or None

    found = first_answer(
        sources,
        ask,
        nothing=f"has no sdist of {pin.project}",
        failed=f"The releases of {pin.project} could not be listed.",
    )
    return sorted({v for v in found if v and not Version(v).is_prerelease}, key=Version)


def versions_after_pin(pin: Pin | None = None, sources: PipSources | None = None) -> list[str]:
    r"""The releases that came after the pinned one, oldest first."""
    pin = pin or the_pin()
    versions = known_versions(pin, sources)
    return [version for version in versions if Version(version) > Version(pin.version)]


def release_tree(
    version: str,
    *,
    pin: Pin | None = None,
    cache_dir: Path = RELEASES_DIR,
    sources: PipSources | None = None,
    console: Console | None = None,
) -> Tree:
    r"""The tree of another release, from the cache or from the index.

    Raises {py:class}`.UnreachableError` when it is not cached and there is no network, and
    {py:class}`.UnknownReleaseError` when the index answers and has no such version. Modifies
    nothing outside `cache_dir`.
    """
    pin = pin or the_pin()
    folder = cache_dir / checked_version(version)
    if not (folder / MARKER).is_file():
        sources = sources or PipSources.from_configuration()
        _provide(pin, version, folder, sources, console or Console(stderr=True))
    return Tree(folder, origin="sdist")


def release_of(tree: Tree) -> Release:
    r"""What was written down when this tree was unpacked."""
    return Release(**json.loads((tree.root / MARKER).read_text(encoding="utf-8")))


def cached_versions(cache_dir: Path = RELEASES_DIR) -> list[str]:
    r"""The releases whose trees are on this machine, oldest first."""
    found = [path.parent.name for path in cache_dir.glob(f"*/{MARKER}")]
    return sorted(found, key=Version)


def checked_version(version: str) -> str:
    r"""A version in the index's spelling; what is no version is refused before it is a path."""
    try:
        return str(Version(version.removeprefix("v")))
    except InvalidVersion as error:
        raise UnknownReleaseError(
            f"{version!r} is not a version; one looks like 0.33.0, and `all` means every release "
            f"after the pinned one."
        ) from error


def _provide(pin: Pin, version: str, folder: Path, sources: PipSources, console: Console) -> None:
    known = known_versions(pin, sources)
    if version not in known:
        near = ", ".join(_nearest(version, known))
        raise UnknownReleaseError(f"There is no sdist of {pin.project} {version}; nearest: {near}.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix="fetch-", dir=folder.parent))
    try:
        asked = replace(pin, version=version, tag=f"v{version}", commit="", sdist_sha256="")
        archive = download_unpinned(asked, sources, staging, console)
        found = sha256_of(archive.path)
        if archive.stated_sha256 not in (None, found):
            raise TreeError(
                f"{archive.path.name} from {archive.source} is not the file that the source says "
                f"it is: its SHA-256 is {found}, not {archive.stated_sha256}. Nothing was unpacked."
            )
        tree = unpack_sdist(archive.path, staging / "tree", console, _is_wanted)
        held, commit = read_identity(tree / pin.project / "_version.py")
        if held != version:
            raise TreeError(f"The sdist of {pin.project} {version} says that it is {held}.")
        by = "index" if archive.stated_sha256 else "archive"
        release = Release(version, commit or "", found, by)
        (tree / MARKER).write_text(json.dumps(vars(release)) + "\n", encoding="utf-8")
        if folder.exists():  # half a tree of an older program, or another process was quicker
            shutil.rmtree(folder)
        tree.rename(folder)
    except OSError as error:
        raise TreeError(f"The tree of {version} could not be put at {folder}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_wanted(name: str) -> bool:
    return not name.lower().endswith(_PICTURES)


def _version_of(filename: str, pin: Pin) -> str:
    match = re.fullmatch(rf"{re.escape(pin.project)}-(.+)\.tar\.gz", filename)
    try:
        return str(Version(match[1])) if match else ""
    except InvalidVersion:
        return ""


def _nearest(version: str, known: list[str]) -> list[str]:
    wanted = Version(version).release

    def distance(other: str) -> list[int]:
        return [abs(a - b) for a, b in zip(Version(other).release, wanted)]

    return sorted(known, key=distance)[:3]
