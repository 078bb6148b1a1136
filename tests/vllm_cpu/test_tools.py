r"""The capture tool without vLLM: what is scrubbed, what is recorded, how paths become spans."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from vllm_cpu import capture, launch, scenes, scrub, step_recorder, wheel
from vllm_cpu.environment import environment
from vllm_cpu.source_map import shrunk, source_map, spans

LABS = Path(__file__).parents[2] / "labs"


def test_folders_and_addresses_go_and_the_rest_stays():
    text = (
        "INFO 11-20 23:55:30 [a.py:139] mq_connect_ip=10.1.2.3 (local), master_addr=127.0.0.1\r\n"
        "tcp://10.1.2.3:52633 tcp://127.0.0.1:40001 vLLM 0.22.1, torch 2.11.0, 1.2.3.4.5\n"
        "'ipc:///var/t/aa30ec67' psm_37938b6a /somewhere/repo/book /cached/x\r 50%\r 100%\n"
    )
    assert scrub.scrub(text, Path("/somewhere/repo"), Path("/cached")) == (
        "INFO 11-20 23:55:30 [a.py:139] mq_connect_ip=<ip> (local), master_addr=127.0.0.1\n"
        "tcp://<ip>:<port> tcp://127.0.0.1:<port> vLLM 0.22.1, torch 2.11.0, 1.2.3.4.5\n"
        "'ipc://<socket>' <shm> <repo>/book <cache>/x\n 50%\n 100%\n"
    )


def test_the_folder_inside_another_is_named_by_its_own_name():
    text = f"{sys.prefix}/lib {Path.home()}/x"
    inside = Path.home() / "repo"
    assert scrub.scrub(text, inside, inside / "cache").startswith("<python>/lib")
    assert scrub.scrub(f"{inside}/cache/y {inside}", inside, inside / "cache") == "<cache>/y <repo>"


def test_a_leak_is_found():
    clean = "at https://docs.vllm.ai/en/latest/x (NFS/Lustre) 1/1 <repo>/book/x '/usr/local'\n"
    assert scrub.leaks(clean) == []
    assert scrub.leaks(f"{clean}in '/var/lib/thing'\n/home/me/secret\n") == [
        "in '/var/lib/thing'",
        "/home/me/secret",
    ]


def test_the_environment_keeps_out_settings_of_the_caller(tmp_path):
    outside = {"PATH": "/bin", "VLLM_LOGGING_LEVEL": "ERROR", "OMP_NUM_THREADS": "8"}
    made = environment(tmp_path, outside, VLLM_ENABLE_V1_MULTIPROCESSING="0")
    assert made["PATH"] == "/bin"
    assert "VLLM_LOGGING_LEVEL" not in made
    assert made["OMP_NUM_THREADS"] == "1"
    assert made["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert made["VLLM_CACHE_ROOT"].startswith(str(tmp_path))


def test_the_prompts_have_the_lengths_that_the_scenes_are_about():
    first, second, third = scenes.prompts(lambda text: [ord(letter) for letter in text])
    assert (len(first), len(second), len(third)) == (40, 100, 41)
    assert third[:32] == first[:32]
    assert third[32:] != first[32:]
    with pytest.raises(ValueError, match="the text has 3 tokens, the prompt needs 40"):
        scenes.prompts(lambda text: [1, 2, 3])


def test_every_scene_gives_each_request_its_limit():
    for scene in scenes.SCENES.values():
        assert len(scene.max_tokens) == 3
        assert scene.device in ("cpu", "cuda")
        assert set(scene.engine) & set(scenes.SETTINGS) == set()


def test_spans_nest_as_anchors_name_them():
    source = (
        "import os\n"
        "class Outer:\n"
        "    def method(self):\n"
        "        def inner():\n"
        "            pass\n"
        "    class Nested:\n"
        "        async def deep(self):\n"
        "            pass\n"
        "if os.name:\n"
        "    def conditional():\n"
        "        pass\n"
    )
    assert spans(source) == [
        ("Outer", 2, 8),
        ("Outer.method", 3, 5),
        ("Outer.Nested", 6, 8),
        ("Outer.Nested.deep", 7, 8),
        ("conditional", 10, 11),
    ]


def test_the_map_has_the_files_that_the_log_may_mean(tmp_path):
    package = tmp_path / "vllm"
    for path in ("v1/engine/core.py", "a/b/c/d.py", "a/x/c/d.py", "envs.py"):
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text("def f():\n    pass\n", encoding="utf-8")
    found = source_map(package, {"v1/engine/core.py", "a/.../c/d.py"})
    assert list(found) == ["vllm/a/b/c/d.py", "vllm/a/x/c/d.py", "vllm/v1/engine/core.py"]
    assert found["vllm/v1/engine/core.py"] == [("f", 1, 2)]
    assert shrunk("vllm/envs.py") == "envs.py"


def output(scheduled, new=(), cached=(), resumed=(), preempted=()):
    return SimpleNamespace(
        num_scheduled_tokens=scheduled,
        scheduled_new_reqs=[SimpleNamespace(req_id=n, num_computed_tokens=c) for n, c in new],
        scheduled_cached_reqs=SimpleNamespace(
            req_ids=[n for n, _ in cached],
            num_computed_tokens=[c for _, c in cached],
            resumed_req_ids=set(resumed),
        ),
        preempted_req_ids=set(preempted),
    )


def test_a_recorder_writes_what_was_seen_when_it_was_seen(tmp_path):
    """Two steps are scheduled before the first is updated, as with a batch queue."""
    plans = [
        output({"a-1f": 4}, new=[("a-1f", 16)]),
        output({"a-1f": 1, "b": 2}, cached=[("a-1f", 20), ("b", 7)], resumed=["b"]),
        output({}, preempted=["b"]),
    ]

    class Scheduler:
        def add_request(self, request):
            request.seen = True

        def schedule(self):
            return plans.pop(0)

        def update_from_output(self, scheduler_output, model_output):
            reason = "length" if model_output == "last" else None
            one = SimpleNamespace(request_id="a-1f", new_token_ids=[5], finish_reason=reason)
            return {0: SimpleNamespace(outputs=[one] if model_output else [])}

    path = tmp_path / "steps.jsonl"
    step_recorder.record(Scheduler, path)
    scheduler = Scheduler()
    status = SimpleNamespace(name="RUNNING")
    request = SimpleNamespace(
        request_id="a-1f", status=status, num_computed_tokens=16, num_tokens=20
    )
    scheduler.add_request(request)
    assert request.seen
    first = scheduler.schedule()
    request.num_computed_tokens = 20
    second = scheduler.schedule()
    scheduler.update_from_output(first, "first")
    request.num_tokens = 21
    scheduler.update_from_output(second, "last")
    scheduler.update_from_output(scheduler.schedule(), None)
    one, two, three = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert (one["step"], one["arrived"], one["admitted"]) == (0, ["a"], {"a": 16})
    assert one["after_schedule"] == {"a": ["RUNNING", 16, 20]}
    assert one["after_update"] == {"a": ["RUNNING", 20, 20]}
    assert (one["sampled"], one["finished"]) == ({"a": [5]}, {})
    assert (two["scheduled"], two["admitted"]) == ({"a": 1, "b": 2}, {"b": 7})
    assert two["finished"] == {"a": "length"}
    assert (three["scheduled"], three["preempted"], three["sampled"]) == ({}, ["b"], {})


def test_the_hook_wraps_the_scheduler_in_a_process_that_imports_it(tmp_path):
    """A stand-in for the package, in a process of its own: nothing else of it is imported."""
    package = tmp_path / "vllm" / "v1" / "core" / "sched"
    package.mkdir(parents=True)
    (package / "scheduler.py").write_text(
        "class Scheduler:\n"
        "    def add_request(self, request): pass\n"
        "    def schedule(self): pass\n"
        "    def update_from_output(self, a, b): pass\n",
        encoding="utf-8",
    )
    program = (
        "import sys; from vllm_cpu import step_recorder; step_recorder.install()\n"
        "assert not any(name.startswith('vllm.') for name in sys.modules)\n"
        "from vllm.v1.core.sched.scheduler import Scheduler\n"
        "print(Scheduler.schedule.__wrapped__.__qualname__)\n"
        "assert all('WrapOnImport' not in type(finder).__name__ for finder in sys.meta_path)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            "PYTHONPATH": f"{LABS}:{tmp_path}",
            step_recorder.VARIABLE: str(tmp_path / "steps"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Scheduler.schedule"


def test_without_the_variable_nothing_is_installed(monkeypatch):
    monkeypatch.delenv(step_recorder.VARIABLE, raising=False)
    before = list(sys.meta_path)
    step_recorder.install()
    assert sys.meta_path == before


def test_two_trees_are_compared_file_by_file(tmp_path):
    left, right = tmp_path / "wheel", tmp_path / "pinned"
    for root, text in ((left, "a = 1\n"), (right, "a = 2\n")):
        (root / "sub").mkdir(parents=True)
        (root / "same.py").write_text("x = 0\n", encoding="utf-8")
        (root / "sub" / "other.py").write_text(text, encoding="utf-8")
    (left / "only.py").touch()
    (left / "native.so").touch()
    assert wheel.compare(left, right) == wheel.Comparison(1, ("sub/other.py",), ("only.py",), ())
    told = wheel.report(left, right)
    assert "1 Python files are the same, 1 differ" in told
    assert "-a = 2\n+a = 1" in told


def test_the_launcher_answers_for_the_name_of_the_package():
    known = {"vllm-cpu": "0.22.1", "torch": "2.11.0"}
    version = launch.answering(known.__getitem__)
    assert version("vllm") == "0.22.1+cpu"
    assert version("torch") == "2.11.0"


def test_an_unknown_scene_is_refused(capsys):
    with pytest.raises(SystemExit):
        capture.main(["nonesuch"])
    told = capsys.readouterr().err
    assert "nonesuch" in told
    assert "plain" in told
