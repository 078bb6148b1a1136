r"""One build of the book as a process of its own, with its progress on the terminal.

A build that fails has still read its pages, and Sphinx would take them for good: the next build
would say nothing of what is wrong with them. So what was remembered of the pages that were
complained about is thrown away, and the complaint comes back until its cause is gone. A complaint
that names no page costs all that was remembered.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Seconds that a build has to put its kernels away before it is killed.
GRACE = 5

_COMPLAINT = re.compile(r"\b(?:WARNING|ERROR|CRITICAL)\b")
_WHERE = re.compile(r"^(?P<path>/.*?\.md)(?::|$)")


@dataclass(frozen=True)
class Book:
    """Where the sources of a book are, and where its builds are kept."""

    source: Path = ROOT
    folder: Path = ROOT / "_build"

    @property
    def finished(self) -> Path:
        """The full build, as it is being written."""
        return self.folder / "html"

    @property
    def quick(self) -> Path:
        """The first pages, without what notebooks print."""
        return self.folder / "quick"

    @property
    def shown(self) -> Path:
        """The last full build that ended well, as readers see it."""
        return self.folder / "shown"

    @property
    def doctrees(self) -> Path:
        """What Sphinx remembers of the full build's pages."""
        return self.folder / ".doctrees"


@dataclass
class Build:
    """One run of Sphinx: its process, then its exit status and what it complained of."""

    command: list[str]
    title: str
    source: Path
    complaints: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def run(self) -> int:
        """Run it and show where it is: a line that counts on a terminal, else a line a page."""
        started = time.monotonic()
        show = Progress(self.title, started)
        self.process = subprocess.Popen(
            self.command,
            cwd=self.source,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl+C is for us, and `stop` passes it on; a build that hears it twice cannot tidy up.
            start_new_session=os.name == "posix",
        )
        for raw in self.process.stdout or ():
            line = raw.rstrip().split("\r")[-1]
            if not line or "[IPKernelApp]" in line:
                continue
            short = progress(line)
            if short is None and _COMPLAINT.search(line):
                self.complaints.append(line)
            show.line(line, short)
        code = self.process.wait()
        show.end("done" if code == 0 else "FAILED")
        return code

    def stop(self) -> None:
        """End the process and its kernels, gently first; nothing is left when this returns."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        for signal_number, seconds in ((signal.SIGINT, GRACE), (signal.SIGTERM, 1)):
            with contextlib.suppress(OSError):
                process.send_signal(signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                return
        process.kill()
        process.wait()


class Progress:
    """The terminal's last line while a build runs; elsewhere a line for each step."""

    def __init__(self, title: str, started: float) -> None:
        self.title, self.started = title, started
        self.terminal = sys.stdout.isatty()
        self.shown = ""

    def line(self, whole: str, short: str | None) -> None:
        """Print a complaint whole, and a step in short."""
        if short is None:
            self._wipe()
            print(whole, flush=True)
        elif self.terminal:
            self.shown = f"{self.title}: {short} ({self._seconds():.0f} s)"
            print(f"\r\033[K{self.shown[:110]}", end="", flush=True)
        elif short != self.shown:
            self.shown = short
            print(f"{self.title}: {short}", flush=True)

    def end(self, verdict: str) -> None:
        """Say how it ended."""
        self._wipe()
        print(f"{self.title}: {verdict} after {self._seconds():.0f} s", flush=True)

    def _wipe(self) -> None:
        if self.terminal and self.shown:
            print("\r\033[K", end="")
        self.shown = ""

    def _seconds(self) -> float:
        return time.monotonic() - self.started


def sphinx(book: Book, target: Path, doctrees: Path, *options: str) -> list[str]:
    """The command of one build."""
    return [
        *(sys.executable, "-m", "sphinx", "-b", "html", "-d", str(doctrees)),
        *("-n", "--keep-going", *options, str(book.source), str(target)),
    ]


def full_build(book: Book) -> Build:
    """The build whose pages count, warnings as errors."""
    return Build(sphinx(book, book.finished, book.doctrees, "-W"), "the book", book.source)


def quick_build(book: Book) -> Build:
    """The build that leaves notebooks unexecuted, to have something to read."""
    command = sphinx(
        book, book.quick, book.folder / ".doctrees-quick", "-D", "nb_execution_mode=off"
    )
    return Build(command, "first pages", book.source)


def environment() -> dict[str, str]:
    """Two builds are equal: no random hash seed, one thread, a fixed date; the log is plain."""
    settings = {
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "SOURCE_DATE_EPOCH": "1767225600",
        "NO_COLOR": "1",  # Sphinx colours what it writes to a pipe where CI is set
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "labs")]),
    }
    return {**os.environ, **settings}


def complete(folder: Path) -> bool:
    """Whether a build of this folder ever ended well."""
    return (folder / ".complete").exists()


def conclude(book: Book, build: Build, code: int) -> None:
    """After the full build: stamp a good one; of a failed one, forget the pages at fault."""
    if code == 0:
        (book.finished / ".complete").touch()
        shutil.rmtree(book.quick, ignore_errors=True)
        shutil.rmtree(book.folder / ".doctrees-quick", ignore_errors=True)
        return
    pages = pages_at_fault(book, build.complaints)
    for page in pages:
        book.doctrees.joinpath(page).with_suffix(".doctree").unlink(missing_ok=True)
    if build.complaints and not pages:
        (book.doctrees / "environment.pickle").unlink(missing_ok=True)


def pages_at_fault(book: Book, complaints: list[str]) -> list[str]:
    """The sources that complaints name, relative to the book's folder."""
    found = set()
    for line in complaints:
        match = _WHERE.match(line)
        if match and Path(match["path"]).is_relative_to(book.source):
            found.add(Path(match["path"]).relative_to(book.source).as_posix())
    return sorted(found)


def progress(line: str) -> str | None:
    """The part of a line of Sphinx that says how far it is; `None` for what must be printed."""
    for start in ("reading sources", "writing output", "Executing notebook", "Executed notebook"):
        if start in line and "WARNING" not in line and "ERROR" not in line:
            return line[-80:] if line.startswith("/") else line[:80]
    noise = ("Running Sphinx", "loading", "building [", "updating env", "looking for", "pickling")
    quiet = (
        "checking",
        "preparing",
        "copying",
        "generating",
        "dumping",
        "myst",
        "Using",
        "Writing",
    )
    others = ("making output", "The HTML", "parsing", "build succeeded", "The pages", "[Autodoc2]")
    cached = "Using cached notebook" in line or "Cached executed notebook" in line
    if cached or line.startswith((*noise, *quiet, *others)):
        return line[:80]
    return None
