r"""The recorded blocks of phase 02: are they what the script says, and what vLLM does today?"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAB = ROOT / "labs" / "phase-02-paged-attention" / "lab-06-real-blocks"
SCRIPT = LAB / "on_real_vllm.py"


def committed():
    return json.loads((LAB / "capture.json").read_text(encoding="utf-8"))


def test_the_capture_is_of_the_scripts_requests():
    spec = importlib.util.spec_from_file_location("blocks_on_real_vllm", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    told = committed()
    assert told["sizes"] == script.SIZES
    assert {
        name: (request["arrives"], [tuple(piece) for piece in request["prompt"]])
        for name, request in told["requests"].items()
    } == {name: (arrives, pieces) for name, arrives, pieces, _ in script.REQUESTS}
    assert [len(request["answer"]) for request in told["requests"].values()] == [
        count for *_, count in script.REQUESTS
    ]
    assert told["versions"]["vllm-cpu"] == "0.22.1"


def test_the_capture_names_no_folder():
    text = (LAB / "capture.json").read_text(encoding="utf-8")
    assert "/tmp" not in text
    assert "/home" not in text


@pytest.mark.vllm_cpu
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here")
def test_a_run_of_today_has_the_same_blocks(tmp_path):
    r"""Moment by moment: the hashes too, since the run fixes PYTHONHASHSEED."""
    again = tmp_path / "capture.json"
    path = os.pathsep.join([str(ROOT / "labs"), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, str(SCRIPT), str(again)],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        timeout=300,
    )
    now = json.loads(again.read_text(encoding="utf-8"))
    assert now["moments"] == committed()["moments"]
    assert now["requests"] == committed()["requests"]
