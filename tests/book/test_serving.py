"""Serving the book: loopback only, the quick build until the full one is there, clear refusals."""

from __future__ import annotations

import http.client
import threading

import pytest

from book import serve


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A build folder with a quick build in it."""
    monkeypatch.setattr(serve, "BUILD", tmp_path)
    monkeypatch.setattr(serve, "FINISHED", tmp_path / "html")
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "index.html").write_text("quick")
    return tmp_path


@pytest.fixture
def server(folders):
    made = serve.serve(None)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def get(server, path: str = "/index.html") -> str:
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def test_the_full_build_takes_over_without_a_restart(server, folders):
    assert server.server_address[0] == "127.0.0.1"
    assert get(server) == "quick"
    (folders / "html").mkdir()
    (folders / "html" / "index.html").write_text("half")
    assert get(server) == "quick"  # the full build is under way
    (folders / "html" / ".complete").touch()
    (folders / "html" / "index.html").write_text("full")
    assert get(server) == "full"


def test_nothing_outside_the_build_is_served(server, folders):
    (folders / "secret").write_text("secret")
    assert "secret" not in get(server, "/../secret")


def test_a_taken_port_is_told_with_its_number(server):
    port = server.server_address[1]
    with pytest.raises(SystemExit, match=f"port {port} is taken"):
        serve.serve(port)


@pytest.mark.parametrize("port", ["0", "70000", "eighty"])
def test_an_impossible_port_is_refused(port, capsys):
    with pytest.raises(SystemExit) as stopped:
        serve.main(["--port", port])
    assert stopped.value.code == 2
    assert port in capsys.readouterr().err


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
    assert (serve.progress(line) is not None) == quiet


def test_a_failed_build_is_said_and_leaves_no_stamp(folders, monkeypatch, capsys):
    monkeypatch.setattr(serve, "sphinx", lambda *_: [serve.sys.executable, "-c", "exit(3)"])
    assert serve.build(quick_first=False) == 3
    assert "FAILED" in capsys.readouterr().out
    assert not (folders / "html" / ".complete").exists()


def test_a_good_build_leaves_its_stamp_and_clears_the_quick_one(folders, monkeypatch):
    code = f"import pathlib; pathlib.Path({str(folders / 'html')!r}).mkdir(exist_ok=True)"
    monkeypatch.setattr(serve, "sphinx", lambda *_: [serve.sys.executable, "-c", code])
    assert serve.build(quick_first=False) == 0
    assert (folders / "html" / ".complete").exists()
    assert not (folders / "quick").exists()
