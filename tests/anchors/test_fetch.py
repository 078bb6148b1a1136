"""Fetching ends with the whole verified tree, or with one clear message and nothing on disk."""

from __future__ import annotations

import errno
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from upstream_anchors import fetch as fetch_module
from upstream_anchors import sdist as sdist_module
from upstream_anchors.errors import TreeError, UnreachableError
from upstream_anchors.fetch import provide_tree
from upstream_anchors.pin import Pin
from upstream_anchors.pip_sources import PipSources
from upstream_anchors.tree import MARKER, TREE_VARIABLE

pytest.importorskip("unearth", reason="the fetcher's client is not installed")


@pytest.fixture
def place(tmp_path: Path):
    """Where a fetch puts things: destination, cache, and links as its only source."""
    (tmp_path / "links").mkdir()
    return {
        "destination": tmp_path / "upstream",
        "cache_dir": tmp_path / "cache",
        "sources": PipSources(index_urls=(), find_links=(str(tmp_path / "links"),)),
        "console": Console(quiet=True),
    }


def assert_nothing_left(place: dict) -> None:
    """No tree, whole or half, and no staging folder."""
    assert not place["destination"].exists()
    assert list(place["cache_dir"].glob("*")) == []


def test_the_tree_is_fetched_once(place: dict, pin: Pin, make_sdist) -> None:
    archive, digest = make_sdist()
    pinned = replace(pin, sdist_sha256=digest)
    tree, done = provide_tree(pinned, **place)
    assert done == "fetched and verified"
    assert tree.lines("vllm/logs.py")
    assert MARKER not in tree.files
    assert list(place["cache_dir"].glob("*")) == []
    archive.unlink()  # the second run must not need it
    assert provide_tree(pinned, **place)[1] == "already there"


def test_an_index_is_asked_by_project_name(
    place: dict, pin: Pin, make_sdist, tmp_path: Path
) -> None:
    archive, digest = make_sdist()
    page = tmp_path / "index" / "vllm" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="{archive.as_uri()}">{archive.name}</a>')
    place["sources"] = PipSources(index_urls=((tmp_path / "index").as_uri(),))
    tree, _ = provide_tree(replace(pin, sdist_sha256=digest), **place)
    assert tree.is_file("vllm/logs.py")


def test_a_wrong_hash_stops_before_unpacking(place: dict, pin: Pin, make_sdist) -> None:
    _, digest = make_sdist()
    with pytest.raises(TreeError, match=digest) as caught:
        provide_tree(pin, **place)
    assert pin.sdist_sha256 in str(caught.value)
    assert not isinstance(caught.value, UnreachableError)
    assert_nothing_left(place)


def test_a_wrong_commit_inside_the_right_file_is_refused(place: dict, pin: Pin, make_sdist) -> None:
    _, digest = make_sdist()
    with pytest.raises(TreeError, match=r"holds vllm 9\.9\.9 @ abc1234de"):
        provide_tree(replace(pin, sdist_sha256=digest, commit="fedcba987"), **place)
    assert_nothing_left(place)


def test_a_release_that_no_source_has_names_the_sources(place: dict, pin: Pin) -> None:
    with pytest.raises(UnreachableError, match=r"has no sdist of vllm 9\.9\.9") as caught:
        provide_tree(pin, **place)
    assert TREE_VARIABLE in str(caught.value)
    assert_nothing_left(place)


def test_no_network_is_one_message_without_credentials(place: dict, pin: Pin) -> None:
    # A port that nothing listens on: the discard service of this very machine.
    place["sources"] = PipSources(index_urls=("https://user:secret@127.0.0.1:9/simple",))
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9") as caught:
        provide_tree(pin, **place)
    assert "secret" not in str(caught.value)
    assert_nothing_left(place)


def test_an_unreachable_source_does_not_hide_the_next(place: dict, pin: Pin, make_sdist) -> None:
    _, digest = make_sdist()
    links = place["sources"].find_links
    place["sources"] = PipSources(index_urls=(), find_links=("https://127.0.0.1:9/x", *links))
    assert provide_tree(replace(pin, sdist_sha256=digest), **place)[1] == "fetched and verified"


def test_a_full_disk_is_no_network_trouble(
    place: dict, pin: Pin, make_sdist, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, digest = make_sdist()

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, "extract", full)
    with pytest.raises(TreeError, match="No space left") as caught:
        provide_tree(replace(pin, sdist_sha256=digest), **place)
    assert not isinstance(caught.value, UnreachableError)
    assert_nothing_left(place)


def test_our_own_mistake_does_not_pass_for_a_broken_network(
    place: dict, pin: Pin, make_sdist, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sdist()

    def broken(*arguments: object) -> None:
        raise NameError("a bug")

    monkeypatch.setattr(sdist_module, "_session", broken)
    with pytest.raises(NameError):
        provide_tree(pin, **place)
    assert_nothing_left(place)


def member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    """A member of an archive that should not be in one."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("vllm-9.9.9/../../escaped", tarfile.REGTYPE),
        member("/escaped", tarfile.REGTYPE),
        member("vllm-9.9.9/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("vllm-9.9.9/hard", tarfile.LNKTYPE, "vllm-9.9.9/setup.py"),
        member("vllm-9.9.9/device", tarfile.CHRTYPE),
    ],
    ids=lambda info: info.name,
)
def test_an_archive_that_reaches_outside_is_refused(
    place: dict, pin: Pin, make_sdist, tmp_path: Path, bad: tarfile.TarInfo
) -> None:
    _, digest = make_sdist(extra=[bad])
    with pytest.raises(TreeError, match="not a plain file or folder below its"):
        provide_tree(replace(pin, sdist_sha256=digest), **place)
    assert_nothing_left(place)
    assert list(tmp_path.rglob("escaped")) == []


def test_half_an_archive_is_refused(place: dict, pin: Pin, make_sdist) -> None:
    import hashlib

    archive, _ = make_sdist()
    archive.write_bytes(archive.read_bytes()[:-200])
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(TreeError, match="could not be unpacked"):
        provide_tree(replace(pin, sdist_sha256=digest), **place)
    assert_nothing_left(place)


def test_our_own_tree_of_the_old_pin_is_replaced(place: dict, pin: Pin, make_sdist, plant) -> None:
    _, digest = make_sdist()
    old = {"vllm/_version.py": "__version__ = version = '9.9.8'\n", MARKER: "{}", "stale.py": ""}
    plant(place["destination"], old)
    tree, done = provide_tree(replace(pin, sdist_sha256=digest), **place)
    assert done == "fetched and verified"
    assert not tree.is_file("stale.py")


def test_somebody_elses_tree_is_never_replaced(place: dict, pin: Pin, make_sdist, plant) -> None:
    _, digest = make_sdist()
    plant(place["destination"], {"vllm/_version.py": "__version__ = version = '9.9.8'\n"})
    with pytest.raises(TreeError, match="Remove the folder"):
        provide_tree(replace(pin, sdist_sha256=digest), **place)
    assert (place["destination"] / "vllm" / "_version.py").exists()


def test_a_failed_rename_keeps_the_old_tree(
    place: dict, pin: Pin, make_sdist, plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, digest = make_sdist()
    plant(place["destination"], {"vllm/_version.py": "old\n", MARKER: "{}"})
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "vllm-9.9.9":
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(TreeError, match="could not be put at"):
        provide_tree(replace(pin, sdist_sha256=digest), **place)
    assert (place["destination"] / "vllm" / "_version.py").read_text() == "old\n"


def test_a_named_tree_is_verified_and_not_fetched(
    place: dict, pin: Pin, plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_module, "download_sdist", None)  # would raise if it were called
    monkeypatch.setenv(TREE_VARIABLE, str(plant(tmp_path / "mine")))
    tree, done = provide_tree(pin, **place)
    assert tree.root == tmp_path / "mine"
    assert TREE_VARIABLE in done


def test_staging_folders_of_killed_runs_are_removed(place: dict, pin: Pin, make_sdist) -> None:
    _, digest = make_sdist()
    stale, recent = place["cache_dir"] / "fetch-old", place["cache_dir"] / "fetch-new"
    stale.mkdir(parents=True)
    recent.mkdir()
    os.utime(stale, (0, 0))
    provide_tree(replace(pin, sdist_sha256=digest), **place)
    assert not stale.exists()
    assert recent.exists()
