"""Random engines on random models: the same tokens as transformers. A failing seed is kept."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def load(name):
    qualified = f"engine_model_{name}"
    if qualified not in sys.modules:
        path = Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(qualified, path)
        sys.modules[qualified] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[qualified])
    return sys.modules[qualified]


sweep, oracles, checkpoints = load("parity_sweep"), load("oracle"), load("checkpoints")


@pytest.mark.parametrize("seed", sweep.seeds())
def test_random_engine(seed, tmp_path, parity, tools):
    case = sweep.SweepCase.from_seed(seed)
    checkpoints.write_checkpoint(tmp_path, case.class_name, case.changes, seed=seed)
    oracle = oracles.Oracle.load(tmp_path)
    params = [tools.greedy(n) for n in case.num_tokens]
    try:
        run = tools.run(tmp_path, case.prompts, params, **case.settings)
        assert [len(answer) for answer in run.token_ids] == case.num_tokens
        parity.check(oracle, case.prompts, run, str(case), "random models and engines")
    except BaseException:
        print(f"PARITY_SEED={seed} PARITY_CASES=1 reproduces: {case}")
        sweep.keep(seed)
        raise


def test_a_seed_is_a_case():
    one, same, other = (sweep.SweepCase.from_seed(s) for s in (1, 1, 2))
    assert one == same
    assert one != other
