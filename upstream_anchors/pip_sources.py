r"""Where would pip look on this machine?

The tree is fetched from the package index by the project's name, and many machines have an index
of their own, a proxy or a certificate that only pip's configuration knows of. pip has no library
interface, so its files and variables are read here: the machine's file, the user's, the
environment's, the one that `PIP_CONFIG_FILE` names, then `PIP_…` variables, each overriding the one
before, as pip does it.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ENVIRONMENT = "PIP_"
_SECTIONS = ("global", "download")


@dataclass(frozen=True)
class PipSources:
    r"""What pip's configuration says about finding and reaching packages.

    `index_urls` may hold `None`, which is the default index of the tools; `find_links` are
    folders, files or pages that list archives.
    """

    index_urls: tuple[str | None, ...] = (None,)
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    cert: str | None = None
    proxy: str | None = None
    timeout: float = 30.0

    @classmethod
    def from_configuration(cls, environ: Mapping[str, str] | None = None) -> PipSources:
        r"""Read the files and variables that pip would read in this environment."""
        environ = os.environ if environ is None else environ
        settings: dict[str, str] = {}
        for path in configuration_files(environ):
            settings.update(_read_file(path))
        for name, value in environ.items():
            if name.startswith(_ENVIRONMENT) and value:
                settings[name.removeprefix(_ENVIRONMENT).lower().replace("_", "-")] = value
        return cls.from_settings(settings)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> PipSources:
        r"""Make sense of merged settings; a timeout that is no number is left at its default."""
        extra = settings.get("extra-index-url", "").split()
        indexes: list[str | None] = [settings.get("index-url") or None, *extra]
        if settings.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
            indexes = []
        try:
            timeout = float(settings.get("timeout") or settings.get("default-timeout", "30"))
        except ValueError:
            timeout = 30.0
        return cls(
            index_urls=tuple(dict.fromkeys(indexes)),
            find_links=tuple(settings.get("find-links", "").split()),
            trusted_hosts=tuple(settings.get("trusted-host", "").split()),
            cert=settings.get("cert"),
            proxy=settings.get("proxy"),
            timeout=timeout,
        )

    def described(self) -> list[str]:
        r"""The sources by name, without credentials, for messages."""
        return [*self.find_links, *(without_password(url) for url in self.index_urls)]


def without_password(url: str | None) -> str:
    r"""An index's address fit for a message: no user, no password."""
    if url is None:
        return "the default package index"
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rsplit('@', 1)[-1]}{slash}{path}"


def configuration_files(environ: Mapping[str, str]) -> list[Path]:
    r"""The files that pip reads its configuration from, in its order, existing or not."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []  # pip's way of saying: read no file at all
    home = Path(environ.get("HOME") or Path.home())
    if sys.platform == "win32":
        machine = [Path(environ.get("PROGRAMDATA", r"C:\ProgramData")) / "pip" / "pip.ini"]
        user = [home / "pip" / "pip.ini", Path(environ.get("APPDATA", home)) / "pip" / "pip.ini"]
    else:
        support = Path("Library/Application Support/pip/pip.conf")
        folders = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
        machine = [Path(folder) / "pip" / "pip.conf" for folder in folders.split(":")]
        machine.append(Path("/etc/pip.conf"))
        settings = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        user = [home / ".pip" / "pip.conf", settings / "pip" / "pip.conf"]
        if sys.platform == "darwin":
            machine.insert(0, Path("/") / support)
            user.append(home / support)
    site = [Path(sys.prefix) / ("pip.ini" if sys.platform == "win32" else "pip.conf")]
    return [*machine, *user, *site, *([Path(named)] if named else [])]


def _read_file(path: Path) -> dict[str, str]:
    # interpolation off: a password may hold a percent sign.
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}  # pip itself will complain, loudly
    settings: dict[str, str] = {}
    for section in _SECTIONS:
        if parser.has_section(section):
            pairs = parser.items(section)
            settings.update({name.replace("_", "-"): value for name, value in pairs})
    return settings
