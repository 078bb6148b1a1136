r"""Which text does the model learn, and which text is kept from it?

The pinned tree itself: the Python and the Markdown under `vllm/`, `docs/`, `examples/` and
`benchmarks/`. A reader of this book recognises the identifiers that the model writes, and the
licence (Apache-2.0) allows it; the notice is in `book/model/NOTICE`.

A file is **held out** when the SHA-1 of its path is divisible by 50. The rule needs no random
generator and no list, is the same on every machine, and cannot be bent by looking at the text.
The list is written all the same, so that nobody has to compute it: `book/model/heldout.txt`.

What is left out: `third_party` (other licences), empty files, and the two SPDX lines that open
nearly every file, which would teach the model to open every file with them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

ROOTS = ("vllm", "docs", "examples", "benchmarks")
SUFFIXES = (".py", ".md")
HELD_OUT_ONE_IN = 50

REPOSITORY = Path(__file__).resolve().parents[2]
TREE = REPOSITORY / "upstream"
HERE = Path(__file__).resolve().parent


class CorpusError(RuntimeError):
    r"""The pinned tree is missing or is not the one that the recipe was written for."""


@dataclass(frozen=True)
class Document:
    r"""One file: its path inside the tree, and its text without the SPDX lines."""

    path: str
    text: str

    @property
    def num_bytes(self) -> int:
        r"""Length in UTF-8 bytes, the unit of bits per byte."""
        return len(self.text.encode())


@dataclass(frozen=True)
class Corpus:
    r"""Training and held-out documents, each sorted by path; no path is in both."""

    train: tuple[Document, ...]
    heldout: tuple[Document, ...]

    def manifest(self) -> dict[str, object]:
        r"""What the run read: counts, bytes, and a digest per part that pins the exact text."""
        return {
            part: {
                "files": len(documents),
                "bytes": sum(document.num_bytes for document in documents),
                "sha256": _digest(documents),
            }
            for part, documents in (("train", self.train), ("heldout", self.heldout))
        }


def is_held_out(path: str) -> bool:
    r"""Whether the file at `path` (relative to the tree, with `/`) is kept from training."""
    digest = hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()
    return int(digest, 16) % HELD_OUT_ONE_IN == 0


def strip_spdx(text: str) -> str:
    r"""The text without its SPDX comment lines, and without the blank lines that they leave."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("# SPDX-")]
    return "".join(lines).lstrip("\n")


def read(tree: Path = TREE) -> Corpus:
    r"""Read and split the tree; raises `CorpusError` where there is none."""
    if not (tree / "vllm").is_dir():
        raise CorpusError(
            f"no pinned tree at {tree}: fetch it first (nox -s anchors), "
            "the corpus is its Python and its docs"
        )
    train: list[Document] = []
    heldout: list[Document] = []
    for path in sorted(_paths(tree)):
        text = strip_spdx((tree / path).read_text(encoding="utf-8"))
        if text.strip():
            (heldout if is_held_out(path) else train).append(Document(path, text))
    return Corpus(tuple(train), tuple(heldout))


def write_lists(corpus: Corpus, folder: Path = HERE) -> None:
    r"""Write `heldout.txt` (one path a line) and `corpus.json` (the manifest)."""
    paths = "".join(f"{document.path}\n" for document in corpus.heldout)
    (folder / "heldout.txt").write_text(paths, encoding="utf-8")
    manifest = json.dumps(corpus.manifest(), indent=2)
    (folder / "corpus.json").write_text(manifest + "\n", encoding="utf-8")


def _paths(tree: Path) -> list[str]:
    return [
        path.relative_to(tree).as_posix()
        for root in ROOTS
        for path in (tree / root).rglob("*")
        if path.suffix in SUFFIXES and "third_party" not in path.parts and path.is_file()
    ]


def _digest(documents: tuple[Document, ...]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update(f"{document.path}\0{document.text}\0".encode())
    return digest.hexdigest()
