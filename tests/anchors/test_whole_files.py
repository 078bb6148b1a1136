"""A file that several processes write at once is whole at every moment, and none of them fails."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from upstream_anchors.whole_files import write_whole

WRITER = """
import sys, time
from pathlib import Path
from upstream_anchors.whole_files import write_whole

path, start = Path(sys.argv[1]), float(sys.argv[2])
time.sleep(max(0.0, start - time.time()))
for turn in range(200):
    write_whole(path / f"{turn}", sys.argv[3] * 100_000)
    found = (path / f"{turn}").read_bytes()
    assert len(found) == 100_000 and len(set(found)) == 1, (len(found), set(found))
"""


def test_writers_of_one_name_do_not_meet(tmp_path: Path) -> None:
    start = str(time.time() + 1)
    folder = tmp_path / "not" / "there"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), start, letter],
            stderr=subprocess.PIPE,
            text=True,
        )
        for letter in "abcd"
    ]
    said = [writer.communicate(timeout=60)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, "\n".join(said)
    assert sorted(path.name for path in folder.iterdir()) == sorted(map(str, range(200)))


def test_text_is_utf_8_and_bytes_stay(tmp_path: Path) -> None:
    write_whole(tmp_path / "text", "µ\r\n")
    write_whole(tmp_path / "bytes", b"\xff")
    assert (tmp_path / "text").read_bytes() == "µ\r\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\xff"


def test_who_cannot_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(OSError):
        write_whole(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
