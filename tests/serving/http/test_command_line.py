"""The flags of `mini_vllm serve`, and what is refused before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest
from http_servers import CHECKPOINT, ROOT

from mini_vllm.engine.engine_args import NEUTRAL_VALUES, EngineArgs
from mini_vllm.entrypoints import cli
from mini_vllm.entrypoints.openai.api_server import DEFAULT_MAX_BODY_BYTES
from mini_vllm.entrypoints.openai.cli_args import SERVER_HELP, ServerArgs, parse_serve_arguments
from mini_vllm.entrypoints.openai.serve import is_loopback, read_template
from mini_vllm.errors import ConfigError


def parse(*flags):
    return parse_serve_arguments(cli.build_parser().parse_args(["serve", "MODEL", *flags]))


def test_without_flags_everything_is_the_default():
    engine, server = parse()
    assert engine == EngineArgs(model="MODEL")
    assert server == ServerArgs()
    assert server.host == "127.0.0.1"
    assert server.max_body_bytes == DEFAULT_MAX_BODY_BYTES


@pytest.mark.parametrize("one", fields(EngineArgs), ids=lambda one: one.name)
def test_every_field_of_the_engine_is_a_flag(one):
    if one.name == "model":
        return
    flag = "--" + one.name.replace("_", "-")
    if "Mapping" in str(one.type):
        engine, _ = parse(flag, '{"of": [1, true, null]}')
        assert getattr(engine, one.name) == {"of": [1, True, None]}
    elif "bool" in str(one.type):
        for value, given in ((True, flag), (False, "--no-" + flag[2:])):
            engine, _ = parse(given)
            assert getattr(engine, one.name) is value
    else:
        number = "int" in str(one.type)
        engine, _ = parse(flag, "7" if number else "word")
        assert getattr(engine, one.name) == (7 if number else "word")


def test_the_servers_flags():
    _, server = parse(
        "--served-model-name", "a", "b", "--api-key", "k", "--max-queued-requests", "3",
        "--shutdown-timeout", "1.5", "--enable-log-requests", "--port", "0",
    )  # fmt: skip
    assert server.served_model_name == ["a", "b"]
    assert (server.api_key, server.max_queued_requests, server.port) == (["k"], 3, 0)
    assert (server.shutdown_timeout, server.enable_log_requests) == (1.5, True)
    assert set(SERVER_HELP) == {one.name for one in fields(ServerArgs)}


def test_a_table_of_graphs_is_refused_where_there_are_none():
    flags = ("--cudagraph-metrics", "--compilation-config")
    _, server = parse(*flags, '{"cudagraph_mode": "FULL"}')
    assert server.cudagraph_metrics is True
    for without in (flags[:1], (*flags, '{"mode": "VLLM_COMPILE", "backend": "eager"}')):
        with pytest.raises(ConfigError, match="cudagraph_metrics=True means nothing with"):
            parse(*without)


def test_the_key_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    assert parse()[1].api_key == ["secret"]
    assert parse("--api-key", "other")[1].api_key == ["other"]


@pytest.mark.parametrize("name", NEUTRAL_VALUES)
def test_a_flag_that_vllm_has_passes_only_with_a_value_that_asks_for_nothing(name):
    flag = "--" + name.replace("_", "-")
    for value in NEUTRAL_VALUES[name]:
        parse(flag, str(value))
    with pytest.raises(ConfigError, match=name):
        parse(flag, "17")


@pytest.mark.parametrize(
    "flags",
    [
        ("--port", "-1"),
        ("--port", "70000"),
        ("--max-queued-requests", "-1"),
        ("--max-body-bytes", "0"),
        ("--shutdown-timeout", "-1"),
        ("--shutdown-timeout", "nan"),
        ("--uvicorn-log-level", "loud"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(flags):
    with pytest.raises(ConfigError, match=flags[0][2:].replace("-", "_")):
        parse(*flags)


def test_an_unknown_flag_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse("--no-such-flag")
    assert "--no-such-flag" in capsys.readouterr().err


def test_a_refusal_is_one_line_and_status_one(capsys, tmp_path):
    assert cli.main(["serve", "MODEL", "--tensor-parallel-size", "4"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "tensor_parallel_size=4" in line
    missing = str(tmp_path / "none.jinja")
    assert cli.main(["serve", str(CHECKPOINT), "--port", "0", "--chat-template", missing]) == 1
    assert "none.jinja" in capsys.readouterr().err


def test_a_template_that_is_too_long_or_no_text(tmp_path):
    path = tmp_path / "template"
    path.write_bytes(b"a" * (2**20 + 1))
    with pytest.raises(ConfigError, match="longer"):
        read_template(str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_template(str(path))


def test_which_addresses_are_this_machine():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))


def test_bench_has_a_parser_of_its_own(monkeypatch):
    import mini_vllm.bench.__main__ as bench

    seen = []
    monkeypatch.setattr(bench, "main", lambda argv: seen.append(argv) or 5)
    assert cli.main(["bench", "latency", "--x", "-h"]) == 5
    assert seen == [["latency", "--x", "-h"]]


def test_without_the_servers_libraries_the_rest_works_and_serve_says_what_to_install():
    program = (
        "import sys\n"
        "for name in ('fastapi', 'uvicorn', 'pydantic', 'starlette'): sys.modules[name] = None\n"
        "from mini_vllm.entrypoints import cli\n"
        "import mini_vllm; mini_vllm.LLM\n"
        "sys.exit(cli.main(['serve', 'MODEL']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr
