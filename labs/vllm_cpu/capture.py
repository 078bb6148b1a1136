r"""Run the scenes on real vLLM and keep what they printed and did.

```
python -m vllm_cpu.capture [--out FOLDER] [--note TEXT] [SCENE …]
```

Writes `SCENE.log` (the log, scrubbed), `SCENE.json` (requests, outputs and the trace of every
step), `sources.json` (the spans of the functions in the files that the logs name) and
`provenance.json`. The default folder is the lab's own. Nothing in these files is edited by hand: a
test holds their hashes against the provenance.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vllm_cpu import scrub, step_recorder, wheel
from vllm_cpu.environment import WHY, environment
from vllm_cpu.scenes import CHECKPOINT, SCENES, SETTINGS, Scene
from vllm_cpu.source_map import source_map

REPOSITORY = Path(__file__).parents[2]
LAB = "labs/phase-01-architecture-and-request-lifecycle/lab-02-read-the-real-loop"
PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "tokenizers", "numpy", "safetensors")
LOCATION = re.compile(r"\[([\w./]+\.py):\d+\]")


class CaptureError(RuntimeError):
    r"""A run of vLLM failed; the message ends with the end of its log."""


def run(scene: Scene, folder: Path, repository: Path = REPOSITORY) -> dict[str, Any]:
    r"""Run one scene in a process of its own and write `SCENE.log` and `SCENE.json` into `folder`.

    Returns what `provenance.json` says about it. Raises {py:class}`CaptureError` when the process
    fails.
    """
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary)
        trace, result = cache / "steps.jsonl", cache / "result.json"
        more = dict(scene.variables)
        if scene.one_process:
            more["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        variables = environment(
            cache,
            **more,
            **{step_recorder.VARIABLE: str(trace), "PYTHONPATH": str(repository / "labs")},
        )
        command = [sys.executable, "-m", "vllm_cpu.run_scene", scene.name, str(result)]
        process = subprocess.run(
            command,
            cwd=repository,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        text = process.stdout.decode("utf-8", errors="replace")
        if process.returncode or not result.is_file():
            tail = "\n".join(text.splitlines()[-30:])
            raise CaptureError(f"scene {scene.name} ended with {process.returncode}:\n{tail}")
        outcome = json.loads(result.read_text(encoding="utf-8"))
        steps = [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
        log = scrub.scrub(text, repository, cache)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{scene.name}.log").write_text(log, encoding="utf-8")
    document = {"requests": outcome["requests"], "steps": steps}
    (folder / f"{scene.name}.json").write_text(_one_line_a_row(document), encoding="utf-8")
    return {
        "shows": scene.shows,
        "device": outcome["device"],
        "one_process": scene.one_process,
        "settings": {**SETTINGS, **scene.engine},
        "variables": more,
        "seconds": outcome["seconds"],
        "lines": len(log.splitlines()),
        "steps": len(steps),
        "sha256": {
            name: _sha256(folder / name) for name in (f"{scene.name}.log", f"{scene.name}.json")
        },
    }


def provenance(
    scenes: dict[str, Any], note: str | None = None, repository: Path = REPOSITORY
) -> dict[str, Any]:
    r"""Where a capture comes from: machine, versions, pin, checkpoint, command, date, scrubbing.

    `note` says what a reader must know about this one, and is `None` for an ordinary capture.
    """
    pinned = (repository / "upstream_anchors" / "pin.toml").read_text(encoding="utf-8")
    pin = tomllib.loads(pinned)
    checkpoint = repository / CHECKPOINT
    return {
        "what": "the output of real vLLM, scrubbed as stated below and not edited",
        "note": note,
        "command": "python -m vllm_cpu.capture",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version for name in PACKAGES if (version := _version(name))},
        },
        "pin": {key: pin[key] for key in ("project", "version", "commit", "sdist_sha256")},
        "checkpoint": {
            "path": CHECKPOINT,
            "eos_token_id": _eos_token_id(checkpoint),
            "sha256": {path.name: _sha256(path) for path in sorted(checkpoint.glob("*.*"))},
        },
        "variables": {name: value for name, (value, _) in WHY.items()},
        "request ids": "vLLM adds a random suffix to each request id; the traces leave it out",
        "scrubbed": scrub.RULES,
        "scenes": scenes,
    }


def write_sources(folder: Path, package: Path) -> None:
    r"""Write `sources.json` for all the logs that lie in a folder."""
    logs = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.log"))]
    locations = {location for log in logs for location in LOCATION.findall(log)}
    (folder / "sources.json").write_text(
        _one_line_a_row(source_map(package, locations)), encoding="utf-8"
    )


def _one_line_a_row(document: dict[str, Any]) -> str:
    """JSON with a line for each entry of each part, so that a diff of two captures can be read."""
    parts = []
    for name, part in document.items():
        if isinstance(part, dict):
            rows = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in part.items()]
            opening, closing = "{}"
        else:
            rows = [json.dumps(value) for value in part]
            opening, closing = "[]"
        body = ",\n  ".join(rows)
        parts.append(f"{json.dumps(name)}: {opening}\n  {body}\n {closing}")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def _eos_token_id(checkpoint: Path) -> int | None:
    text = (checkpoint / "config.json").read_text(encoding="utf-8")
    return json.loads(text).get("eos_token_id")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def main(arguments: list[str] | None = None) -> int:
    r"""Capture the scenes that are named, or all that run on a CPU."""
    parser = argparse.ArgumentParser(prog="python -m vllm_cpu.capture", description=__doc__)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of: {', '.join(SCENES)}")
    parser.add_argument("--note", help="what a reader must know about this capture")
    parser.add_argument("--out", type=Path, default=REPOSITORY / LAB / "capture")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.scenes) - set(SCENES):
        parser.error(f"no scene is called {sorted(unknown)}; there are: {', '.join(SCENES)}")
    package = wheel.installed()
    if package is None:
        parser.error("vLLM is not installed in this environment: nox -s vllm_cpu makes one")
    if not (REPOSITORY / CHECKPOINT / "model.safetensors").is_file():
        parser.error(f"there is no checkpoint at {CHECKPOINT}")
    known: dict[str, Any] = {}
    stated = chosen.out / "provenance.json"
    if chosen.scenes and stated.is_file():
        known = json.loads(stated.read_text(encoding="utf-8"))["scenes"]
    for name in chosen.scenes or [name for name in SCENES if SCENES[name].device == "cpu"]:
        print(f"scene {name}: {SCENES[name].shows}", flush=True)
        known[name] = run(SCENES[name], chosen.out)
        print(f"  {known[name]['lines']} lines, {known[name]['steps']} steps", flush=True)
    write_sources(chosen.out, package)
    text = json.dumps(provenance(known, chosen.note), indent=1, ensure_ascii=False)
    stated.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
