r"""How does a file appear at once, however many write it?

Under another name, then by a rename. The other name belongs to one writer alone: two processes
that begin on an empty cache at the same moment each write theirs, and who comes last wins with
equal bytes. A name that they share would be renamed away under the second one.
"""

from __future__ import annotations

import secrets
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    r"""Put `content` at `path`: a reader finds what was there before, or all of it.

    Text is written as UTF-8. The folder is made if it is missing. Of several writers the last one
    stays, whole; a writer that is killed leaves what was there, and a file `.NAME.….partial`.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
