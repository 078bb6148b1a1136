"""The program itself, in a terminal: answered, killed, gone on with, reported."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = Path(__file__).with_name("bank")
pty = pytest.importorskip("pty", reason="no pseudo-terminals here")


def command(records: Path, *arguments: str) -> list[str]:
    options = ["--bank", str(SAMPLE), "--records", str(records)]
    return [sys.executable, "-m", "capstone", "loop", *options, *arguments]


ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "labs")]),
    "TERM": "dumb",
    "COLUMNS": "72",
    "PYTHONUTF8": "1",
}


class Terminal:
    """A program behind a pseudo-terminal; every wait has an end."""

    def __init__(self, arguments: list[str]) -> None:
        try:
            self.master, slave = pty.openpty()
        except OSError as refused:  # a chroot without /dev/pts, say
            pytest.skip(f"this machine hands out no pseudo-terminal: {refused}")
        # A shell starts what runs in its background with Ctrl-C ignored, and that is inherited.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(
                arguments,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        finally:
            signal.signal(signal.SIGINT, before)
            os.close(slave)
        self.seen = b""

    @property
    def text(self) -> str:
        """What came since the last prompt; a character may be cut at the end."""
        return self.seen.decode("utf-8", "replace")

    def until(self, *words: str, seconds: float = 60) -> str:
        """Read until one of the words stands at the end; returns it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for word in words:
                if self.text.endswith(word):
                    self.seen = b""
                    return word
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:  # the other end is closed
                    break
            elif self.process.poll() is not None:
                break
        raise AssertionError(f"waited for {words}, the screen ends: {self.text[-400:]!r}")

    def type(self, line: str) -> None:
        os.write(self.master, f"{line}\n".encode())

    def rest(self) -> str:
        """What comes until the program ends."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if not select.select([self.master], [], [], 0.2)[0]:
                continue
            try:
                chunk = os.read(self.master, 65536)
            except OSError:
                break
            if not chunk:
                break
            self.seen += chunk
        self.process.wait(timeout=60)
        return self.text

    def interrupt(self) -> None:
        """Ctrl-C, and once more if nothing happens, as at a keyboard.

        Python's line editing looks for signals when its wait is broken off, and misses one that
        comes between the prompt and the wait.
        """
        for _ in range(6):
            os.killpg(self.process.pid, signal.SIGINT)
            if select.select([self.master], [], [], 5)[0]:
                return

    def close(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.master)


LINE, GRADE, CHOICE, LOOK, CAUSE = "› ", "0-2: ", "Which one? ", "Next? ", "Which? "


def play(terminal: Terminal, answers: int) -> int:
    """Answer until the loop ends or so many prompts have been served; how many were."""
    served = 0
    ended, looked = True, False
    while served < answers:
        try:
            prompt = terminal.until(LINE, GRADE, CHOICE, LOOK, CAUSE)
        except AssertionError:
            if "written to" in terminal.text:
                break
            raise
        served += 1
        if prompt == CHOICE:
            terminal.type("3")
        elif prompt == LOOK:
            # One look at the first thing in the list, then a guess.
            looked = not looked
            terminal.type("1" if looked else "c")
        elif prompt == CAUSE:
            terminal.type("1")
        elif prompt == GRADE:
            terminal.type("2")
        else:
            terminal.type("128 KiB, für jedes Token" if ended else ".")
            ended = not ended
    return served


def test_a_loop_in_a_terminal_killed_and_gone_on_with(tmp_path: Path) -> None:
    terminal = Terminal(command(tmp_path, "start", "--seed", "5", "--name", "mine"))
    try:
        # Two answers, and the first line of a third.
        assert play(terminal, 11) == 11
        terminal.until(LINE)
    finally:
        terminal.close()
    path = tmp_path / "mine.jsonl"
    before = path.read_bytes()
    assert before.count(b'"event": "line"') == 3

    terminal = Terminal(command(tmp_path, "resume"))
    try:
        terminal.until(LINE)
        terminal.type(".")
        play(terminal, 200)
        screen = terminal.rest()
        assert terminal.process.returncode == 0, screen
    finally:
        terminal.close()
    content = path.read_bytes()
    assert content.startswith(before)
    entries = [json.loads(line) for line in content.splitlines()]
    lines = [entry for entry in entries if entry["event"] == "line"]
    # A scenario has four parts, a symptom two and a walk.
    assert len(lines) == 8 + 6 + 4 + 2 * 2
    walks = [entry["event"] for entry in entries if entry["event"] in {"look", "cause"}]
    assert walks == ["look", "cause"] * 2
    assert {entry["text"] for entry in lines} == {"128 KiB, für jedes Token"}
    report = (tmp_path / "mine.md").read_text(encoding="utf-8")
    assert "17 answers; transcript as written" in report
    assert (tmp_path / "mine.html").is_file()
    assert (tmp_path / "mine.svg").is_file()


def test_ctrl_c_loses_nothing_and_says_how_to_go_on(tmp_path: Path) -> None:
    terminal = Terminal(command(tmp_path, "start", "--seed", "5", "--name", "mine"))
    try:
        terminal.until(LINE)
        terminal.type("half of it")
        terminal.until(LINE)
        terminal.interrupt()
        screen = terminal.rest()
    finally:
        terminal.close()
    assert terminal.process.returncode == 130
    assert "Traceback" not in screen
    assert "capstone loop resume mine" in " ".join(screen.split())
    last = json.loads((tmp_path / "mine.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert last["text"] == "half of it"


def run(records: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(records, *arguments),
        input=typed,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_through_a_pipe_peeking_costs_and_is_said(tmp_path: Path) -> None:
    done = run(
        tmp_path, "start", "--seed", "5", typed=":peek\nhalf of it\n:time\n.\n2\n2\n2\n:stop\n"
    )
    assert done.returncode == 0, done.stderr
    assert "at most 2: peek" in done.stdout
    assert done.stdout.count("Model answer ·") == 1, "it is not printed a second time"
    assert "The model answer stands above" in done.stdout
    assert "resume loop-1" in done.stdout
    shown = run(tmp_path, "report")
    assert shown.returncode == 0
    assert "1 answer, 16 still open" in shown.stdout
    assert "Traceback" not in done.stderr + shown.stderr


def test_what_was_typed_is_shown_again_to_whoever_goes_on(tmp_path: Path) -> None:
    """Also before the grades: the answer cannot be compared from memory."""
    run(tmp_path, "start", "--seed", "5", typed="Half a sentence, and 128 KiB\n")
    going_on = run(tmp_path, "resume", typed="the other half\n.\n")
    assert "(going on: 1 line of yours is kept)" in going_on.stdout
    assert "  Half a sentence, and 128 KiB\n" in going_on.stdout
    to_grade = run(tmp_path, "resume", typed="2\n2\n2\n:stop\n")
    shown = to_grade.stdout.split("Model answer")[0]
    assert "(going on: 2 lines of yours are kept)" in shown
    assert "  Half a sentence, and 128 KiB\n  the other half\n" in shown


def test_a_command_with_a_slip_in_it_is_no_answer(tmp_path: Path) -> None:
    done = run(tmp_path, "start", "--seed", "5", typed=":peak\n:Time\n:-) 128 KiB\n:stop\n")
    assert ":peak is none of :peek, :time, :stop; nothing is written" in done.stdout
    assert ":Time is none of" in done.stdout
    content = (tmp_path / "loop-1.jsonl").read_text(encoding="utf-8")
    entries = [json.loads(line) for line in content.splitlines()]
    assert [one["text"] for one in entries if one["event"] == "line"] == [":-) 128 KiB"]


def test_an_edited_transcript_is_reported_and_stays(tmp_path: Path) -> None:
    run(tmp_path, "start", "--seed", "5", typed="128 KiB\n.\n0\n0\n0\n")
    path = tmp_path / "loop-1.jsonl"
    text = path.read_text(encoding="utf-8").replace('"points": 0', '"points": 2')
    path.write_text(text, encoding="utf-8")
    shown = run(tmp_path, "report")
    assert shown.returncode == 1
    assert "transcript changed after it was written" in shown.stdout
    assert "is not as it was written here" in shown.stdout
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report"], "no loop yet"),
        (["resume", "never"], "no such loop"),
        (["compare", "a", "b"], "no such loop"),
        (["start", "--name", "../up"], "is no name for a file"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run(tmp_path / "none", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_rules_can_be_read(tmp_path: Path) -> None:
    rules = run(tmp_path, "rules").stdout
    assert "at most 2" in rules
    assert "one cheap detour at most" in rules
    assert "{py:mod}" not in rules
