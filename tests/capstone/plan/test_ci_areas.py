"""Which step runs which test: on a small tree with every awkward command, and at the pin."""

from __future__ import annotations

from pathlib import Path

import pytest
from capstone.errors import CapstoneError
from capstone.plan.ci_areas import covering, read_steps

from upstream_anchors.tree import Tree

AREA = """\
group: Core
steps:
- label: On the CPU
  device: cpu-small
  commands:
  - export A=1
  - pytest -v -s -m 'cpu_test' core
- label: On a GPU
  optional: true
  commands:
  - |
    cd .. && pytest -s tests/core/test_b.py --ignore tests/core/test_c.py
    cd tests; FLAG=1 torchrun --nproc-per-node=2 -m pytest core/test_a.py -k "one or two"
- label: All but two
  num_devices: 2
  working_dir: "/vllm-workspace/"
  commands:
  - pytest -m "not cpu_test" tests/core --ignore=tests/core/test_c.py
  - pytest tests/core/test_c.py::test_one
  - echo 'it''s | no test' # pytest core
- label: No commands
"""
WHOLE = "import pytest\n\npytestmark = [\n    pytest.mark.cpu_test,\n]\n"
SOME = "import pytest\n\n@pytest.mark.cpu_test\ndef test_one(): ...\n\ndef test_two(): ...\n"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    files = {
        ".buildkite/test_areas/core.yaml": AREA,
        "tests/core/test_a.py": WHOLE,
        "tests/core/test_b.py": SOME,
        "tests/core/test_c.py": "def test_one(): ...\n",
        "tests/core/test_d.py": "def test_one(): ...\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Tree(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_a.py", [("On the CPU", "CPU", "whole"), ("On a GPU", "GPU", "part")]),
        (
            "test_b.py",
            [
                ("On a GPU", "GPU", "whole"),
                ("On the CPU", "CPU", "part"),
                ("All but two", "GPU", "part"),
            ],
        ),
        ("test_c.py", [("All but two", "GPU", "part")]),
        ("test_d.py", [("All but two", "GPU", "whole")]),
    ],
)
def test_which_step_runs_which_file(tree, name, expected) -> None:
    found = covering(read_steps(tree), tree, f"tests/core/{name}")
    assert [(step.label, step.runs_on, extent) for step, extent in found] == expected


def test_a_step_knows_where_it_stands(tree) -> None:
    steps = read_steps(tree)
    assert [(s.label, s.line, s.gpus, s.optional) for s in steps] == [
        ("On the CPU", 3, 1, False),
        ("On a GPU", 8, 1, True),
        ("All but two", 14, 2, False),
        ("No commands", 21, 1, False),
    ]


def test_an_area_that_is_no_yaml_is_named(tmp_path) -> None:
    path = tmp_path / ".buildkite/test_areas/core.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("steps: [")
    with pytest.raises(CapstoneError, match=r"test_areas/core\.yaml: not YAML"):
        read_steps(Tree(tmp_path))


def test_the_pinned_areas_run_most_test_files(upstream) -> None:
    files = [p for p in upstream.tree.python_files("tests") if p.rsplit("/", 1)[-1][:5] == "test_"]
    run = [p for p in files if covering(upstream.steps, upstream.tree, p)]
    assert len(upstream.steps) > 150
    # Not all: files of other vendors' hardware have pipelines of their own.
    assert 0.8 < len(run) / len(files) < 1


@pytest.mark.parametrize(
    ("path", "label", "device"),
    [
        ("tests/v1/core/test_scheduler.py", "V1 Others (CPU)", "CPU"),
        ("tests/v1/core/test_output.py", "V1 Core + KV + Metrics", "GPU"),
        ("tests/lora/test_llama_tp.py", "LoRA TP (Distributed)", "GPU"),
        (
            "tests/reasoning/test_base_thinking_reasoning_parser.py",
            "Async Engine, Inputs, Utils, Worker, Config (CPU)",
            "CPU",
        ),
        ("tests/v1/engine/test_preprocess_error_handling.py", "Engine (1 GPU)", "GPU"),
    ],
)
def test_the_pinned_step_of_a_file(upstream, path, label, device) -> None:
    step, extent = covering(upstream.steps, upstream.tree, path)[0]
    assert (step.label, step.runs_on, extent) == (label, device, "whole")
