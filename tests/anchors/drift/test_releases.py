"""Another release's tree comes whole, with the hash of what it came from, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from upstream_anchors import cli
from upstream_anchors.drift.releases import (
    UnknownReleaseError,
    cached_versions,
    checked_version,
    known_versions,
    release_of,
    release_tree,
    versions_after_pin,
)
from upstream_anchors.errors import TreeError, UnreachableError
from upstream_anchors.pip_sources import PipSources

pytest.importorskip("unearth", reason="the fetcher's client is not installed")


@pytest.fixture
def place(tmp_path: Path, pin):
    """A cache, and a folder of links as the only source."""
    (tmp_path / "links").mkdir()
    return {
        "pin": pin,
        "cache_dir": tmp_path / "releases",
        "sources": PipSources(index_urls=(), find_links=(str(tmp_path / "links"),)),
        "console": Console(quiet=True),
    }


def test_a_release_is_fetched_once_and_says_what_it_is(place: dict, make_sdist) -> None:
    archive, digest = make_sdist()
    tree = release_tree("9.9.9", **place)
    release = release_of(tree)
    assert (release.version, release.commit, release.sdist_sha256) == ("9.9.9", "abc1234de", digest)
    assert release.sha256_from == "archive"  # a folder of links states no hash
    assert tree.is_file("vllm/engine/core.py")
    assert cached_versions(place["cache_dir"]) == ["9.9.9"]
    archive.unlink()  # the second time must not need it
    assert release_tree("9.9.9", **place).root == tree.root


def test_the_hash_that_an_index_states_is_kept_and_compared(
    place: dict, make_sdist, tmp_path: Path
) -> None:
    archive, digest = make_sdist()
    page = tmp_path / "index" / "vllm" / "index.html"
    page.parent.mkdir(parents=True)
    place["sources"] = PipSources(index_urls=((tmp_path / "index").as_uri(),))
    page.write_text(f'<a href="{archive.as_uri()}#sha256={"0" * 64}">{archive.name}</a>')
    with pytest.raises(TreeError):
        release_tree("9.9.9", **place)
    assert cached_versions(place["cache_dir"]) == []
    page.write_text(f'<a href="{archive.as_uri()}#sha256={digest}">{archive.name}</a>')
    assert release_of(release_tree("9.9.9", **place)).sha256_from == "index"


def test_an_unknown_version_names_the_nearest(place: dict, make_sdist) -> None:
    make_sdist()
    with pytest.raises(UnknownReleaseError, match=r"no sdist of vllm 9\.9\.8; nearest: 9\.9\.9"):
        release_tree("9.9.8", **place)


@pytest.mark.parametrize("name", ["latest", "../../etc", ""])
def test_what_is_no_version_is_refused_before_it_is_a_path(name: str) -> None:
    with pytest.raises(UnknownReleaseError, match="is not a version"):
        checked_version(name)


def test_only_later_releases_come_after_the_pin(place: dict, make_sdist, tmp_path: Path) -> None:
    archive, _ = make_sdist()
    for version in ("0.9", "1.0", "1.0.1", "1.10", "1.9", "2.0rc1"):
        archive.with_name(f"vllm-{version}.tar.gz").write_bytes(archive.read_bytes())
    sources = place["sources"]
    assert known_versions(place["pin"], sources)[0] == "0.9"
    assert versions_after_pin(place["pin"], sources) == ["1.0.1", "1.9", "1.10", "9.9.9"]


def test_an_archive_of_another_release_is_refused(place: dict, make_sdist) -> None:
    archive, _ = make_sdist()
    archive.rename(archive.with_name("vllm-3.0.tar.gz"))
    with pytest.raises(TreeError, match=r"says that it is 9\.9\.9"):
        release_tree("3.0", **place)
    assert list(place["cache_dir"].glob("*")) == []


def test_no_network_is_said(place: dict) -> None:
    place["sources"] = PipSources(index_urls=())
    with pytest.raises(UnreachableError, match="could not be listed"):
        release_tree("9.9.9", **place)


def test_the_command_without_a_tree_exits_with_three(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["drift", "--tree", str(tmp_path / "none"), "0.33.0"]) == 3
    assert "not a folder" in capsys.readouterr().err
