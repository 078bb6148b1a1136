"""The fetcher looks where pip is configured to look."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from upstream_anchors.pip_sources import PipSources, without_password


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Read a configuration made of files in a home of its own, and of given variables."""
    monkeypatch.setattr("sys.prefix", str(tmp_path / "venv"))
    monkeypatch.setattr("sys.platform", "linux")

    def read(user: str = "", site: str = "", **variables: str) -> PipSources:
        for path, text in (("home/.config/pip/pip.conf", user), ("venv/pip.conf", site)):
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        own = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_DIRS": str(tmp_path / "xdg")}
        return PipSources.from_configuration({**own, **variables})

    return read


def test_the_users_file_is_read(configured) -> None:
    found = configured(
        "[global]\nindex-url = https://one/simple\nextra-index-url =\n  https://two/simple\n"
        "  https://three/simple\nfind_links = /wheels\ntrusted-host = one\ntimeout = 7\n"
        "[install]\nindex-url = https://other/simple\n"
    )
    assert found.index_urls == ("https://one/simple", "https://two/simple", "https://three/simple")
    assert (found.find_links, found.trusted_hosts, found.timeout) == (("/wheels",), ("one",), 7.0)


def test_the_environments_file_and_then_variables_override(configured) -> None:
    user = "[global]\nindex-url = https://user/simple\ncert = /user.pem\nproxy = http://p:1\n"
    site = "[download]\nindex-url = https://site/simple\n"
    assert configured(user, site).index_urls == ("https://site/simple",)
    found = configured(user, site, PIP_INDEX_URL="https://env/simple", PIP_CERT="/env.pem")
    assert found.index_urls == ("https://env/simple",)
    assert (found.cert, found.proxy) == ("/env.pem", "http://p:1")


def test_without_an_index_the_default_one_comes_first(configured) -> None:
    assert configured(PIP_EXTRA_INDEX_URL="https://extra/simple").index_urls == (
        None,
        "https://extra/simple",
    )


def test_no_index_means_links_only(configured) -> None:
    found = configured(PIP_NO_INDEX="1", PIP_FIND_LINKS="/a /b")
    assert (found.index_urls, found.find_links) == ((), ("/a", "/b"))


def test_a_named_file_is_read_last_and_devnull_means_none(configured, tmp_path: Path) -> None:
    user = "[global]\nindex-url = https://user/simple\n"
    named = tmp_path / "named.conf"
    named.write_text("[global]\nindex-url = https://named/simple%20x\n")
    assert configured(user, PIP_CONFIG_FILE=str(named)).index_urls == ("https://named/simple%20x",)


def test_devnull_switches_the_files_off(configured) -> None:
    user = "[global]\ntrusted-host = one\n"
    assert configured(user).trusted_hosts == ("one",)
    assert configured(user, PIP_CONFIG_FILE=os.devnull).trusted_hosts == ()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, "the default package index"),
        ("https://user:pass@host:1/simple", "https://host:1/simple"),
        ("https://host/a@b", "https://host/a@b"),
        ("/wheels", "/wheels"),
    ],
)
def test_sources_are_named_without_passwords(url: str | None, shown: str) -> None:
    assert without_password(url) == shown
