"""Serving the book: loopback only, the last good build, what changed and who is told."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time

import pytest

from book import serve as command
from book.serving import building, server
from book.serving.building import Book, Build
from book.serving.events import Events
from book.serving.mirror import refresh
from book.serving.watching import Watcher

PAGE = "<html><head><title>t</title></head><body>{}</body></html>"


@pytest.fixture
def book(tmp_path):
    """A book with a quick build in it."""
    made = Book(tmp_path, tmp_path / "_build")
    made.quick.mkdir(parents=True)
    (made.quick / "index.html").write_text(PAGE.format("quick"))
    return made


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def served(book, events):
    made = server.serve(book, events, lambda: {"state": "none"}, None)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    events.close()
    made.shutdown()
    thread.join()
    made.server_close()


def ask(served, path: str = "/index.html", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(*served.server_address, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def get(served, path: str = "/index.html", **headers: str) -> str:
    return ask(served, path, **headers).read().decode()


def write(folder, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(PAGE.format(text))


def test_the_full_build_takes_over_without_a_restart(served, book):
    assert served.server_address[0] == "127.0.0.1"
    assert ">quick<" in get(served)
    write(book.finished, "half")
    assert ">quick<" in get(served)  # the full build is under way
    building.conclude(book, Build([], "", book.source), 0)
    refresh(book.finished, book.shown)
    assert ">half<" in get(served)
    write(book.finished, "being written")
    assert ">half<" in get(served)


OUTSIDE = ["/../secret", "/%2e%2e/secret", "/_live/../../secret", "//secret"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_the_build_is_served(served, book, path):
    (book.folder / "secret").write_text("treasure")
    (book.source / "secret").write_text("treasure")
    assert "treasure" not in get(served, path)


def test_folders_are_not_listed(served, book):
    (book.quick / "folder").mkdir()
    (book.quick / "folder" / "treasure.txt").touch()
    assert "treasure" not in get(served, "/folder/")


def test_a_page_is_sent_with_the_script_and_the_file_has_none(served, book):
    for path in ("/", "/index.html", "/index.html?x=1"):
        text = get(served, path)
        assert text.count('src="/_live/live.js"') == 1
        assert int(ask(served, path).headers["Content-Length"]) == len(text.encode())
    assert "_live" not in (book.quick / "index.html").read_text()
    assert "EventSource" in get(served, "/_live/live.js")


def test_what_the_labs_command_graded_is_served_to_this_machine_only(served):
    assert json.loads(get(served, "/_live/labs.json")) == {"state": "none"}
    for path in ("/_live/labs.json", "/_live/events"):
        assert ask(served, path, Host="book.example:80").status == 403
    assert ask(served, "/_live/other").status == 404


def test_a_taken_port_is_told_with_its_number(served, book, events):
    port = served.server_address[1]
    with pytest.raises(SystemExit, match=f"port {port} is taken"):
        server.serve(book, events, dict, port)


@pytest.mark.parametrize("port", ["0", "70000", "eighty"])
def test_an_impossible_port_is_refused(port, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--port", port])
    assert stopped.value.code == 2
    assert port in capsys.readouterr().err


# ---- what is told


def stream(events: Events, seen: str, count: int) -> list[str]:
    found = events.stream(seen)
    return [next(found) for _ in range(count)]


def test_a_page_gets_what_it_missed_and_then_what_comes(events):
    events.tell("changed", {"paths": ["/a.html"], "all": False})
    seen = events.mark
    events.tell("changed", {"paths": ["/b.html"], "all": False})
    told = events.stream(seen)
    first = next(told)
    assert "/b.html" in first
    assert "/a.html" not in first
    threading.Timer(0.05, events.tell, ["labs", {}]).start()
    assert "event: labs" in next(told)


@pytest.mark.parametrize("seen", ["", "another:1", "nonsense", "another:-1"])
def test_a_page_of_another_server_is_told_to_reload(events, seen):
    events.tell("labs", {})
    assert '"all": true' in stream(events, seen, 1)[0]


def test_a_page_that_missed_more_than_is_kept_is_told_to_reload(events):
    seen = events.mark
    for _ in range(300):
        events.tell("labs", {})
    assert '"all": true' in stream(events, seen, 1)[0]


def test_a_failure_is_told_to_later_pages_too_until_a_build_is_good(events):
    events.tell("failed", {"complaints": ["index.md:3: WARNING: x"]})
    assert "WARNING: x" in stream(events, events.mark, 1)[0]
    events.tell("changed", {"paths": [], "all": False})
    threading.Timer(0.05, events.tell, ["labs", {}]).start()
    assert "WARNING" not in stream(events, events.mark, 1)[0]


def test_closing_ends_the_streams(events):
    told = events.stream(events.mark)
    threading.Timer(0.05, events.close).start()
    assert list(told) == []


def test_the_mirror_takes_over_what_differs_and_names_it(tmp_path):
    written, shown = tmp_path / "written", tmp_path / "shown"
    write(written, "one")
    write(written / "deep", "two")
    assert refresh(written, shown) == ["/deep/index.html", "/index.html"]
    assert refresh(written, shown) == []
    # The same bytes, written anew, are no change; others of the same length are.
    os.utime(written / "index.html", (1, 1))
    assert refresh(written, shown) == []
    write(written, "six")
    (written / "deep" / "index.html").unlink()
    assert refresh(written, shown) == ["/deep/index.html", "/index.html"]
    assert "six" in (shown / "index.html").read_text()
    assert not (shown / "deep" / "index.html").exists()


# ---- what starts a build


@pytest.fixture
def watcher(tmp_path):
    for name in ("book", "labs/lab-01", "_build"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    made = Watcher(tmp_path)
    # What changes before the system has been asked to tell, it does not tell.
    for probe in (tmp_path / "book" / "probe", tmp_path / "probe", tmp_path / ".labs" / "probe"):
        for number in range(100):
            probe.write_text(str(number))
            if probe in made.next(0.2):
                break
        else:
            pytest.fail(f"{probe} was never noticed")
    while made.next(0.5):
        pass
    yield made
    made.stop()


def test_a_saved_source_is_noticed_once_and_other_files_are_not(watcher, tmp_path):
    noise = ["book/page.md~", "book/.page.md.swp", "book/4913", "book/#page.md#", "book/.#page.md"]
    noise += ["labs/lab-01/starter.py", "_build/index.html", "book/__pycache__/x.cpython-311.pyc"]
    for name in noise:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert watcher.next(0.5) == set()
    page = tmp_path / "book" / "page.md"
    page.write_text("one")
    (tmp_path / "conf.py").write_text("x = 1")
    found = watcher.next(5)
    # A machine that pauses between the two lets them come one after the other.
    assert found | (watcher.next(5) if len(found) == 1 else set()) == {page, tmp_path / "conf.py"}
    page.touch()  # saved without a change
    assert watcher.next(0.5) == set()
    beside = tmp_path / "book" / "page.md.new"
    beside.write_text("two")
    beside.replace(page)  # as many editors save
    assert watcher.next(5) == {page}


def test_a_graded_lab_is_told_apart_from_a_source(watcher, tmp_path):
    (tmp_path / ".labs" / "progress.json").write_text("{}")
    (found,) = watcher.next(5)
    assert watcher.is_labs_state(found)
    assert not watcher.is_labs_state(tmp_path / "book" / "page.md")


# ---- one build


@pytest.mark.parametrize(
    ("line", "quiet"),
    [
        ("reading sources... [ 50%] index", True),
        ("writing output... [100%] index", True),
        ("/x/index.md: Executed notebook in 1.03 seconds [mystnb]", True),
        ("/x/index.md: WARNING: Executing notebook failed: CellExecutionError", False),
        ("/x/index.md:3: WARNING: undefined label", False),
        ("/x/index.md:3: ERROR: qty: no quantity", False),
    ],
)
def test_progress_is_short_and_problems_are_whole(line, quiet):
    assert (building.progress(line) is not None) == quiet


def python(code: str, book: Book) -> Build:
    return Build([building.sys.executable, "-c", code], "a build", book.source)


def test_a_failed_build_is_said_and_leaves_no_stamp_and_no_memory_of_the_page(book, capsys):
    page = book.source / "book" / "page.md"
    for name in ("book/page", "book/other"):
        (book.doctrees / name).parent.mkdir(parents=True, exist_ok=True)
        (book.doctrees / f"{name}.doctree").touch()
    failing = python(f"print('{page}:3: WARNING: undefined label'); exit(3)", book)
    assert failing.run() == 3
    building.conclude(book, failing, 3)
    assert "FAILED" in capsys.readouterr().out
    assert [line.split(": ", 1)[1] for line in failing.complaints] == ["WARNING: undefined label"]
    assert not (book.finished / ".complete").exists()
    assert not (book.doctrees / "book" / "page.doctree").exists()
    assert (book.doctrees / "book" / "other.doctree").exists()


@pytest.mark.parametrize("colourful", ["CI", "FORCE_COLOR"])
def test_what_sphinx_writes_is_understood_where_it_would_colour(book, monkeypatch, colourful):
    pytest.importorskip("sphinx", reason="the book's own requirements are not installed")
    monkeypatch.setenv(colourful, "true")
    (book.source / "conf.py").write_text("source_suffix = {'.md': 'restructuredtext'}\n")
    (book.source / "index.md").write_text("Title\n=====\n\n:nonsense:`of this page`\n")
    failing = building.full_build(book)
    assert failing.run() != 0
    assert building.pages_at_fault(book, failing.complaints) == ["index.md"]


def test_a_complaint_without_a_page_costs_all_that_was_remembered(book):
    book.doctrees.mkdir(parents=True)
    (book.doctrees / "environment.pickle").touch()
    building.conclude(book, Build([], "", book.source, ["WARNING: of nowhere"]), 1)
    assert not (book.doctrees / "environment.pickle").exists()


def test_a_good_build_leaves_its_stamp_and_clears_the_quick_one(book):
    book.finished.mkdir()
    good = python("", book)
    building.conclude(book, good, good.run())
    assert (book.finished / ".complete").exists()
    assert not book.quick.exists()


def test_a_build_that_is_stopped_leaves_no_process(book):
    endless = python("import time; print('reading sources', flush=True); time.sleep(60)", book)
    thread = threading.Thread(target=endless.run)
    thread.start()
    while endless.process is None:
        time.sleep(0.01)
    endless.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert endless.process.poll() is not None
