"""Build the book with progress, and serve it on loopback.

The first pass leaves the notebooks unexecuted: in well under a minute every page can be read, with
the outputs of its cells missing. It is served at once. Then the full build runs, warnings as
errors, and takes its place; reload the page to see the figures.

    python book/serve.py [--build-only] [--port N] [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
FINISHED = BUILD / "html"
HOST = "127.0.0.1"
PORTS = range(8000, 8100)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves the finished build if there is one, else the quick one; says nothing about hits."""

    def translate_path(self, path: str) -> str:
        """Decide at every request, so that the full build replaces the quick one under way."""
        self.directory = str(FINISHED if complete(FINISHED) else BUILD / "quick")
        return super().translate_path(path)

    def end_headers(self) -> None:
        """A rebuilt page is seen at the next reload."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the terminal for the build's own progress."""


def complete(folder: Path) -> bool:
    """Whether a build of this folder ever ended well: it is served while the next one runs."""
    return (folder / ".complete").exists()


def sphinx(target: Path, doctrees: Path, *options: str) -> list[str]:
    """The command of one build."""
    return [
        *(sys.executable, "-m", "sphinx", "-b", "html", "-d", str(doctrees)),
        *("-n", "--keep-going", *options, str(ROOT), str(target)),
    ]


def environment() -> dict[str, str]:
    """Two builds are equal: no random hash seed, one thread, a fixed date."""
    settings = {
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "SOURCE_DATE_EPOCH": "1767225600",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "labs")]),
    }
    return {**os.environ, **settings}


def run(command: list[str], title: str) -> int:
    """Run a build and show where it is: a line that counts on a terminal, else a line a page."""
    started = time.monotonic()
    terminal = sys.stdout.isatty()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    shown = ""
    for raw in process.stdout or ():
        line = raw.rstrip().split("\r")[-1]
        if not line or "[IPKernelApp]" in line:
            continue
        short = progress(line)
        if short is None:
            if terminal and shown:
                print("\r\033[K", end="")
            print(line, flush=True)
            shown = ""
        elif terminal:
            shown = f"{title}: {short} ({time.monotonic() - started:.0f} s)"
            print(f"\r\033[K{shown[:110]}", end="", flush=True)
        elif short != shown:
            shown = short
            print(f"{title}: {short}", flush=True)
    code = process.wait()
    if terminal and shown:
        print("\r\033[K", end="")
    state = "done" if code == 0 else "FAILED"
    print(f"{title}: {state} after {time.monotonic() - started:.0f} s", flush=True)
    return code


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


def build(*, quick_first: bool) -> int:
    """The quick pass if it is wanted and nothing finished is there, then the full build."""
    if quick_first and not complete(FINISHED):
        quick = sphinx(BUILD / "quick", BUILD / ".doctrees-quick", "-D", "nb_execution_mode=off")
        if run(quick, "first pages") == 0:
            (BUILD / "quick" / ".complete").touch()
    code = run(sphinx(FINISHED, BUILD / ".doctrees", "-W"), "the book")
    if code == 0:
        (FINISHED / ".complete").touch()
        shutil.rmtree(BUILD / "quick", ignore_errors=True)
        shutil.rmtree(BUILD / ".doctrees-quick", ignore_errors=True)
    return code


def serve(port: int | None) -> http.server.ThreadingHTTPServer:
    """A server on loopback; without a wish, on the first free port from 8000."""
    handler = functools.partial(QuietHandler, directory=str(FINISHED))
    for candidate in [port] if port is not None else PORTS:
        with contextlib.suppress(OSError):
            return http.server.ThreadingHTTPServer((HOST, candidate), handler)
    wish = f"port {port} is" if port is not None else f"ports {PORTS[0]} to {PORTS[-1]} are"
    raise SystemExit(f"{wish} taken on {HOST}; choose another with --port")


def main(arguments: list[str] | None = None) -> int:
    """Parse, serve, build; the exit status is that of the full build."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build-only", action="store_true", help="stop after the full build")
    parser.add_argument("--port", type=int, help="serve on this port of loopback")
    parser.add_argument("--quick", action="store_true", help="leave the notebooks unexecuted")
    chosen = parser.parse_args(arguments)
    if chosen.port is not None and not 1 <= chosen.port <= 65535:
        parser.error(f"--port {chosen.port}: a port is a number from 1 to 65535")

    if chosen.build_only:
        return build(quick_first=False)
    server = serve(chosen.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://{HOST}:{server.server_address[1]}/"
    print(f"\n  The book will be at {address} as soon as its first pages are built.\n", flush=True)
    try:
        code = build(quick_first=True)
        note = "" if code == 0 else " The full build failed; what you see is older or incomplete."
        print(f"\n  Reading: {address}  (Ctrl+C ends.){note}\n", flush=True)
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print()
        return 0
    finally:
        server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
