r"""All of it in one run, on one machine: the table that says whether the engine is fast.

```console
$ python -m mini_vllm.bench side-by-side --out book/measurements/side-by-side.json
```

measures every {py:mod}`row <mini_vllm.bench.rows>` with this engine, vLLM eager and compiled, and
transformers, on one thread each, and what a step costs as there is
{py:mod}`more of everything <mini_vllm.bench.growth>`. The result is a measurement in the book's
format, and {doc}`/book/reference/performance` draws it.

`--rows` picks some. Rows that were not measured now are kept as they stand in the file, each with
its own date and commit, so that a long run may be done in parts; a row that failed replaces
nothing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from mini_vllm.bench import rows, step_rows
from mini_vllm.bench.child import ChildError
from mini_vllm.bench.contest import ENGINES, Setting
from mini_vllm.bench.environment import describe_environment
from mini_vllm.bench.rivals import RivalError, find_vllm

WHAT = (
    "Work of this engine, of vLLM (eager and compiled) and of transformers, "
    "on the same checkpoint and prompts, interleaved over fresh processes."
)

#: The works by the name that `--rows` takes.
ROWS: dict[str, Callable[[Setting], list[dict[str, Any]]]] = {
    "limits": rows.limits,
    "start": rows.start,
    "scheduler": step_rows.scheduler,
    "growth": step_rows.growth,
    "watching": step_rows.watching,
    "book-fp32": lambda setting: rows.book(setting, "float32"),
    "book-bf16": lambda setting: rows.book(setting, "bfloat16"),
    "qwen": rows.qwen,
}


def measure(setting: Setting, names: Sequence[str], keep: Callable[[list[dict]], None]) -> bool:
    r"""Measure the works named, and hand each one's rows to `keep` as soon as it is done.

    Returns whether all went well: no failure, and no row void.
    """
    well = True
    for name in names:
        setting.tell(f"== {name}")
        try:
            found = ROWS[name](setting)
        except ChildError as error:
            setting.tell(f"{name}: FAILED: {error}")
            well = False
            continue
        keep(found)
        for row in found:
            well &= not any(text.startswith("VOID") for text in row.get("agreement", {}).values())
            well &= not any(e["status"].startswith("failed") for e in row["engines"].values())
    return well


class RecordError(ValueError):
    """A file that cannot be continued: its rows are of another device."""


class Record:
    r"""The measurement's file: made or continued, and written after every work.

    Raises {py:class}`RecordError` for a file with rows of another device.
    """

    def __init__(self, path: Path, setting: Setting, command: str, device: str) -> None:
        self.path, self.setting, self.command, self.device = path, setting, command, device
        self.vllm_versions = _vllm_versions(setting)
        self.rows: dict[str, Any] = {}
        if path.is_file():
            old = json.loads(path.read_text(encoding="utf-8"))
            self.rows = {row["id"]: row for row in old["values"]["rows"]}
        if others := {row["device"] for row in self.rows.values()} - {device}:
            raise RecordError(f"{path.name} has rows of {', '.join(sorted(others))}, not {device}")

    def keep(self, found: Sequence[dict[str, Any]]) -> None:
        """Take in rows, in place of those of the same name, and write the file."""
        environment = describe_environment()
        stamp = {
            "taken": date.today().isoformat(),
            "commit": environment["commit"],
            "runs": self.setting.repeats,
            "machine": f"{environment['processor']}, {environment['cores']} cores",
            "device": self.device,
            "threads": self.setting.threads,
        }
        for row in found:
            self.rows[row["id"]] = {**row, **stamp}
        versions = {"python": environment["python"]}
        versions |= {name: v for name, v in environment["packages"].items() if v}
        versions |= self.vllm_versions
        document = {
            "what": WHAT,
            "command": self.command,
            "machine": stamp["machine"] if self.device == "cpu" else self.device,
            "versions": versions,
            "taken": stamp["taken"],
            "runs": min(row["runs"] for row in self.rows.values()),
            "values": {"rows": sorted(self.rows.values(), key=_place)},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_rounded(document), indent=1, ensure_ascii=False)
        partial = self.path.with_suffix(".part")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(self.path)


def table(found: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table: each engine's median, and whether the goals were reached."""
    lines = [
        "| work | unit | mini_vllm | vLLM eager | vLLM compiled | transformers "
        "| we are | must | aim |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        if row["id"] == "limits":
            continue
        cells = [
            _figure(row["engines"].get(name))
            for name in ("mini_vllm", "vllm", "vllm-compiled", "transformers")
        ]
        if any(text.startswith("VOID") for text in row.get("agreement", {}).values()):
            cells[0] = f"VOID ({cells[0]})"
        goals = [_goal(row.get(kind)) for kind in ("must", "aim")]
        lines.append(
            "| " + " | ".join([row["work"], row["unit"], *cells, _ratio(row), *goals]) + " |"
        )
    return "\n".join(lines)


def probe_device(setting: Setting) -> str | None:
    """The name of the device to measure on; `None` where a CUDA device was asked for in vain."""
    if setting.device == "cpu":
        return "cpu"
    return replace(setting, device="cpu").call("device", {})["cuda"]


def _figure(engine: dict[str, Any] | None) -> str:
    if engine is None:
        return ""
    if "median" not in engine:
        return "" if engine["status"] == "ran" else engine["status"].split(":")[0]
    value = engine["median"]
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _goal(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    verdict = {True: "yes", False: "**no**", None: "not judged"}[found["reached"]]
    return f"{found['text']}: {verdict}"


def _ratio(row: dict[str, Any]) -> str:
    ours, theirs = (
        row["engines"]["mini_vllm"].get("median"),
        rows.best_vllm(row["engines"], row["better"]),
    )
    return f"{ours / theirs:.2f} x vLLM" if ours and theirs else ""


def _place(row: dict[str, Any]) -> int:
    order = ("throughput", "single", "qwen3", "scheduler", "start", "growth", "watching", "limits")
    return next((i for i, prefix in enumerate(order) if row["id"].startswith(prefix)), len(order))


def _vllm_versions(setting: Setting) -> dict[str, str]:
    if setting.vllm_python is None:
        return {}
    return setting.call("versions", {}, python=setting.vllm_python)


def _rounded(value: Any) -> Any:
    """Six significant digits: more is noise, and makes every diff of the file unreadable."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def add_arguments(parser: Any) -> None:
    """The command's options."""
    parser.add_argument("model", nargs="?", default="book/model/checkpoint")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--repeats", type=int, default=3, help="rounds, each in fresh processes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--vllm-python", metavar="FILE", help="an interpreter that has vLLM 0.22.1")
    parser.add_argument("--engines", nargs="+", metavar="NAME", help="take part; default: all")
    parser.add_argument("--scratch", type=Path, metavar="FOLDER", help="default: a temporary one")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the measurement; default: print")


def main(args: Any) -> int:
    """Measure, print the table; 1 when a row is void or failed, 3 when there is no device."""
    if args.out and args.repeats < 3:
        print(f"bench: a measurement is the median of 3 runs or more, not of {args.repeats}")
        return 2
    try:
        vllm_python = find_vllm(args.vllm_python)
    except RivalError as error:
        print(f"bench: {error}")
        return 2
    command = f"python -m mini_vllm.bench side-by-side --repeats {args.repeats}"
    command += f" --device {args.device}" if args.device != "cpu" else ""
    with tempfile.TemporaryDirectory() as temporary:
        setting = Setting(
            model=args.model,
            scratch=(args.scratch or Path(temporary)).resolve(),
            repeats=args.repeats,
            threads=args.threads,
            device=args.device,
            vllm_python=vllm_python,
            engines=tuple(args.engines or ENGINES),
            tell=lambda line: print(line, flush=True),
        )
        device = probe_device(setting)
        if device is None:
            print(f"bench: no CUDA device on this machine; not run: {', '.join(args.rows)}")
            return 3
        out = args.out or Path(temporary) / "side-by-side.json"
        try:
            record = Record(out, setting, command, device)
        except RecordError as error:
            print(f"bench: {error}")
            return 2
        well = measure(setting, args.rows, record.keep)
    print()
    print(table(sorted(record.rows.values(), key=_place)))
    return 0 if well else 1
