r"""How does an archive on a package index become a verified folder?

Found by project name and exact version, in pip's own places; downloaded; hashed; unpacked into a
staging folder. Nothing here trusts the index: the hash is the pin's. Nothing here trusts the
archive's paths either, hash or no hash: a member that would leave the folder is refused.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from upstream_anchors.errors import TreeError, UnreachableError
from upstream_anchors.pin import Pin
from upstream_anchors.pip_sources import PipSources, without_password
from upstream_anchors.tree import TREE_VARIABLE

if TYPE_CHECKING:
    from unearth import Link, Package, PackageFinder

Answer = TypeVar("Answer")

_CHUNK = 1 << 20
_ATTEMPTS = 3


@contextmanager
def progress_on(console: Console) -> Iterator[Progress]:
    r"""A progress bar that counts bytes, and clears itself away at the end."""
    text = TextColumn("{task.description}")
    columns = (text, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress


class _Overheard(logging.Handler):
    # The client reports an index that answers with an error as a warning, and goes on as if the
    # index were empty. The warning is the reason that our message needs.
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _client_errors() -> tuple[type[Exception], ...]:
    # unearth 0.17 speaks through httpx, 0.19 through httpx2. Anything else that goes wrong while
    # a source is asked, a full disk or our own mistake, must not pass for a broken network.
    found: list[type[Exception]] = [ConnectionError, TimeoutError, RuntimeError, ValueError]
    for name in ("httpx2", "httpx"):
        if find_spec(name):
            client = import_module(name)
            found += [client.HTTPError, client.InvalidURL]
    return tuple(found)


@dataclass(frozen=True)
class Archive:
    r"""A downloaded archive, the source that served it, and the SHA-256 that the source states."""

    path: Path
    source: str
    stated_sha256: str | None = None


def download_sdist(pin: Pin, sources: PipSources, folder: Path, console: Console) -> Path:
    r"""The archive, whose hash is the pin's, from the first source that has it.

    {py:class}`.UnreachableError` when no source answers or has the release. A file with the wrong
    hash is a {py:class}`.TreeError` at once: trying the next source would hide it.
    """
    archive = download_unpinned(pin, sources, folder, console)
    check_hash(pin, archive.path, archive.source)
    return archive.path


def download_unpinned(pin: Pin, sources: PipSources, folder: Path, console: Console) -> Archive:
    r"""The archive of a release that may have no known hash, from the first source that has it.

    The client compares it with the hash that the source states, if it states one; the pin's
    `sdist_sha256` is not looked at. Errors as in {py:func}`.download_sdist`.
    """

    def ask(kind: str, url: str | None) -> Archive | None:
        return _from_source(pin, sources, kind, url, folder, console)

    what = f"sdist of {pin.project} {pin.version}"
    return first_answer(
        sources,
        ask,
        nothing=f"has no {what}",
        failed=f"The {what} could not be fetched.",
        advice=f"let {TREE_VARIABLE} name a git checkout of tag {pin.tag}",
    )


def first_answer(
    sources: PipSources,
    ask: Callable[[str, str | None], Answer | None],
    *,
    nothing: str,
    failed: str,
    advice: str = "",
) -> Answer:
    r"""Ask the sources in pip's order, until one knows.

    `ask` gets what a source is (`"links"` or `"index"`) and its address, and gives `None` when the
    source has `nothing`. When none answers, {py:class}`.UnreachableError` lists what each replied.
    """
    complaints: list[str] = []
    places: list[tuple[str, str | None]] = [("links", link) for link in sources.find_links]
    places += [("index", url) for url in sources.index_urls]
    for kind, url in places:
        name = without_password(url)
        try:
            answer = ask(kind, url)
        except ImportError as error:
            raise UnreachableError(
                f"Fetching the tree needs a package that this environment lacks: {error}. "
                f"Install it with `pip install unearth`."
            ) from error
        except TreeError:
            raise
        except _client_errors() as error:
            complaints.append(f"{name}: {type(error).__name__}: {error}")
            continue
        if answer is not None:
            return answer
        complaints.append(f"{name}: {nothing}")
    tried = "\n".join(f"    {complaint}" for complaint in complaints) or "    no source at all"
    raise UnreachableError(
        f"{failed} Tried, as pip is configured here:\n{tried}\n"
        f"Check the network or pip's configuration (`pip config list`) and run the command again"
        + (f"; or {advice}." if advice else ".")
    )


def sdist_links(
    project: str,
    sources: PipSources,
    kind: str,
    url: str | None,
    look: Callable[[PackageFinder], Iterable[Package]],
) -> tuple[PackageFinder, list[Link]]:
    r"""The `.tar.gz` archives that a look-up at one source found, best first, and the client.

    The client swallows an index's error and finds nothing; here that is a `ConnectionError`.
    """
    from unearth import PackageFinder

    finder = PackageFinder(
        session=_session(sources, url),
        index_urls=[url] if kind == "index" and url else [],
        find_links=[url] if kind == "links" and url else [],
        trusted_hosts=sources.trusted_hosts,
        ignore_compatibility=True,
        no_binary=[project],
    )
    if kind == "links" and url and "://" not in url and not Path(url).exists():
        return finder, []  # pip passes over a folder that is not there, too
    overheard = _Overheard()
    logger = logging.getLogger("unearth")
    logger.addHandler(overheard)
    try:
        links = [found.link for found in look(finder) if found.link.filename.endswith(".tar.gz")]
    finally:
        logger.removeHandler(overheard)
    if not links and overheard.messages:
        raise ConnectionError("; ".join(overheard.messages))
    return finder, links


def _from_source(
    pin: Pin, sources: PipSources, kind: str, url: str | None, folder: Path, console: Console
) -> Archive | None:
    from unearth.preparer import download_link

    wanted = f"{pin.project}=={pin.version}"
    finder, links = sdist_links(
        pin.project, sources, kind, url, lambda it: it.find_matches(wanted, allow_yanked=True)
    )
    if not links:
        return None
    link = links[0]
    with progress_on(console) as progress:
        task = progress.add_task(f"Downloading {link.filename}", total=None)

        def report(link: Any, completed: int, total: int | None) -> None:
            progress.update(task, completed=completed, total=total)

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                path = download_link(finder.session, link, folder, download_reporter=report)
                stated = (link.hash_option or {}).get("sha256", [None])[0]
                return Archive(path, without_password(url), stated)
            except _client_errors():
                (folder / link.filename).unlink(missing_ok=True)  # half a file is no file
                if attempt == _ATTEMPTS:
                    raise
    return None


def _session(sources: PipSources, url: str | None) -> Any:
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    options: dict[str, Any] = {"timeout": sources.timeout, "follow_redirects": True}
    if sources.cert:
        try:
            options["verify"] = ssl.create_default_context(cafile=sources.cert)
        except OSError as error:
            raise TreeError(
                f"pip is configured to use the certificates in {sources.cert}, which cannot be "
                f"read: {error}"
            ) from error
    if sources.proxy:
        options["proxy"] = sources.proxy
    session = PyPIClient(trusted_hosts=sources.trusted_hosts, **options)
    session.auth = MultiDomainBasicAuth(index_urls=[url] if url else [])
    return session


def check_hash(pin: Pin, archive: Path, source: str) -> None:
    r"""Compare the archive's SHA-256 with the pin's."""
    found = sha256_of(archive)
    if found != pin.sdist_sha256:
        raise TreeError(
            f"{archive.name} from {source} is not the pinned file: its SHA-256 is "
            f"{found}, the pin says {pin.sdist_sha256}. Nothing was unpacked. Either "
            f"the source serves another file, or upstream_anchors/pin.toml was changed."
        )


def sha256_of(archive: Path) -> str:
    r"""The SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with archive.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def unpack_sdist(
    archive: Path,
    folder: Path,
    console: Console,
    wanted: Callable[[str], bool] = lambda name: True,
) -> Path:
    r"""Unpack into `folder` and return the one top folder of the archive.

    `wanted` may leave members out by name; they are checked all the same.

    Only plain files and folders are taken, and only below `folder`. vLLM's sdist holds nothing
    else; an archive that does is refused with the member's name.
    """
    tops: set[str] = set()
    try:
        with tarfile.open(archive, "r:gz") as tar, progress_on(console) as progress:
            task = progress.add_task(f"Unpacking {archive.name}", total=archive.stat().st_size)
            for member in tar:
                tops.add(_checked_member(member))
                if member.isfile() and not wanted(member.name):
                    continue
                if hasattr(tarfile, "data_filter"):
                    tar.extract(member, folder, filter="data")
                else:  # Python 3.11.0 to 3.11.3; the check above has already been stricter
                    tar.extract(member, folder)
                progress.update(task, completed=_compressed_offset(tar))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise TreeError(f"{archive.name} could not be unpacked into {folder}: {error}") from error
    if len(tops) != 1:
        raise TreeError(f"{archive.name} holds {len(tops)} top folders, an sdist has one")
    return folder / tops.pop()


def _checked_member(member: tarfile.TarInfo) -> str:
    parts = PurePosixPath(member.name).parts
    inside = not member.name.startswith("/") and ".." not in parts and "\\" not in member.name
    if not parts or not inside or not (member.isfile() or member.isdir()):
        raise TreeError(
            f"the archive holds {member.name!r}, which is not a plain file or folder below its "
            f"top; nothing of it is kept"
        )
    return parts[0]


def _compressed_offset(tar: tarfile.TarFile) -> int:
    # gzip reads ahead by a block, which is near enough for a bar.
    raw = getattr(getattr(tar.fileobj, "fileobj", None), "tell", None)
    return raw() if raw else 0
