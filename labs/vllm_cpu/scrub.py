r"""What is taken out of a log before it is kept?

Only what tells about the machine and nothing about vLLM: folders, host addresses, and the names
that sockets, shared memory and ports get by chance. Process ids, times and sizes stay, since they
are part of what a reader of logs has to read. {py:data}`RULES` is the whole of it, and is stated
beside every capture. No line is dropped, added or moved.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

RULES = {
    "carriage returns": "`\\r\\n` and `\\r` become line ends, as a terminal would show them",
    "<repo>": "the folder of this repository",
    "<python>": "the folder of the Python environment",
    "<home>": "the home folder",
    "<cache>": "the cache folder that was made for the run",
    "<ip>": "every IPv4 address but the loopback",
    "<port>": "the port of an IPv4 address",
    "<socket>": "the path of an IPC socket",
    "<shm>": "the name of a shared-memory segment",
}
_PATTERNS = (
    (re.compile(r"ipc://[^\s'\"\],]+"), "ipc://<socket>"),
    (re.compile(r"psm_[0-9a-f]{8}"), "<shm>"),
    (re.compile(r"(?<![\d.])((?:\d{1,3}\.){3}\d{1,3}):\d+\b"), r"\1:<port>"),
    (re.compile(r"(?<![\d.])(?!127\.0\.0\.1\b)(?:\d{1,3}\.){3}\d{1,3}(?![\d.])"), "<ip>"),
)


def scrub(text: str, repository: Path, cache: Path) -> str:
    r"""The log as it is kept: {py:data}`RULES` applied, longest folders first."""
    text = re.sub(r"\r\n?", "\n", text)
    folders = {
        str(repository): "<repo>",
        sys.prefix: "<python>",
        str(Path.home()): "<home>",
        str(cache): "<cache>",
    }
    for folder in sorted(folders, key=len, reverse=True):
        if folder != "/":
            text = text.replace(folder, folders[folder])
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def leaks(text: str) -> list[str]:
    r"""Lines of a kept log that still name a folder of the machine; a test wants none.

    Any absolute path counts, except those below `/usr`, which are the same everywhere.
    """
    absolute = re.compile(r"(?<![\w:/<>.])/(?!usr/)\w+/\S")
    return [line for line in text.splitlines() if absolute.search(line)]
