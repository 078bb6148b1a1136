r"""`pin.toml` for another release: four values change, and every comment stays.

The file is for people as well, so it is edited and not written anew. A value that does not stand
there exactly once is refused: whoever changed the form of the file has to change this.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace

from upstream_anchors.drift.releases import Release
from upstream_anchors.errors import TreeError
from upstream_anchors.pin import Pin


def moved_pin(pin: Pin, release: Release) -> Pin:
    r"""The pin of another release of the same project."""
    tag = pin.tag.replace(pin.version, release.version)
    return replace(
        pin,
        version=release.version,
        tag=tag,
        commit=release.commit,
        sdist_sha256=release.sdist_sha256,
    )


def rewritten(text: str, new: Pin) -> str:
    r"""The text of a pin file with the identity of `new`; nothing else differs."""
    for key in ("version", "tag", "commit", "sdist_sha256"):
        value = getattr(new, key)
        if not re.fullmatch(r"[\w.+-]+", value):
            raise TreeError(f"{value!r} cannot be the pin's {key}")
        text, count = re.subn(rf'(?m)^{key} = "[^"\n]*"$', f'{key} = "{value}"', text)
        if count != 1:
            raise TreeError(f'the pin file has {count} lines `{key} = "…"`, and should have one')
    tomllib.loads(text)
    return text
