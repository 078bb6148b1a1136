r"""The Anki package: decks, note types and notes in one file, the same bytes for the same source.

`genanki` knows Anki's format and writes the collection. It does not write the file: its own writer
puts the time of a temporary file into the archive. Here the collection is made in memory and
archived under the one moment that the caller gives.

That moment matters to readers as well. When a note comes with a guid that Anki has already, it is
replaced only if it is *newer*; so the moment is that of the commit, and not a fixed one.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import sqlite3
import subprocess
import time
import zipfile
from pathlib import Path

import genanki

from book.flash_cards.notes import FIELDS, CardNote, stable_number
from book.flash_cards.style import CSS, FACT, QUESTION

COURSE = "Inside the Engine"
_EARLIEST = 315_532_800  # 1980: an archive knows no time before it


def moment(root: Path) -> int:
    """When this source was made, in seconds: `SOURCE_DATE_EPOCH`, else the commit, else a refusal.

    Without either (a tree that is no repository) two runs could not agree on it.
    """
    if text := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(text)
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise RuntimeError(f"{root} is no git repository: set SOURCE_DATE_EPOCH to its date")
    return int(done.stdout)


def package(notes: list[CardNote], when: int) -> bytes:
    """The `.apkg` file; `when` is the time that every note, deck and member of it carries."""
    if when < _EARLIEST:
        raise ValueError(f"{when} is before 1980, which an archive cannot say")
    collection = _collection(notes, when)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in (("collection.anki2", collection), ("media", b"{}")):
            member = zipfile.ZipInfo(name, date_time=time.gmtime(when)[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, data)
    return stream.getvalue()


def _collection(notes: list[CardNote], when: int) -> bytes:
    models = {name: _model(name) for name in FIELDS}
    decks: dict[str, genanki.Deck] = {}
    for note in notes:
        phase = note.phase
        if phase.folder not in decks:
            name = f"{COURSE}::{phase.number:02d} {phase.title}"
            number = stable_number(f"deck/{phase.number:02d}")
            decks[phase.folder] = genanki.Deck(number, name, phase.line)
        made = genanki.Note(
            model=models[note.model],
            fields=list(note.fields),
            tags=list(note.tags),
            guid=note.guid,
        )
        decks[phase.folder].add_note(made)
    connection = sqlite3.connect(":memory:")
    try:
        writer = genanki.Package(list(decks.values()))
        writer.write_to_db(connection.cursor(), when, itertools.count(when * 1000))
        connection.execute("UPDATE col SET crt = ?, mod = ?, scm = ?", (when, when * 1000, 0))
        _date_decks(connection, when)
        connection.commit()
        return connection.serialize()
    finally:
        connection.close()


def _date_decks(connection: sqlite3.Connection, when: int) -> None:
    """The decks carry the moment too; genanki gives them a time of its own."""
    (text,) = connection.execute("SELECT decks FROM col").fetchone()
    decks = json.loads(text)
    for deck in decks.values():
        deck["mod"] = when
    connection.execute("UPDATE col SET decks = ?", (json.dumps(decks),))


def _model(name: str) -> genanki.Model:
    title = {"question": "question", "fact": "fact"}[name]
    front, back = {"question": QUESTION, "fact": FACT}[name]
    return genanki.Model(
        stable_number(f"model/{name}"),
        f"{COURSE}: {title}",
        fields=[{"name": field} for field in FIELDS[name]],
        templates=[{"name": "Say it aloud", "qfmt": front, "afmt": back}],
        css=CSS,
    )
