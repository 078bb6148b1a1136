r"""The published checkpoints, loaded once for all tests of this folder."""

from importlib.util import find_spec

import pytest

from book.model import corpus
from book.model.recipe import DRAFT, TARGET

if find_spec("torch") is None:  # the base install: only the corpus and its batches can be tested
    collect_ignore = [
        "test_checkpoint.py",
        "test_tokenizer.py",
        "test_training.py",
        "test_widen.py",
    ]


@pytest.fixture(scope="session", params=[TARGET, DRAFT], ids=lambda recipe: recipe.name)
def recipe(request):
    return request.param


@pytest.fixture(scope="session")
def folder(recipe):
    return corpus.HERE / recipe.folder


@pytest.fixture(scope="session")
def model(folder):
    from book.model.evaluate import load

    return load(folder)


@pytest.fixture(scope="session")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(corpus.HERE / TARGET.folder)


@pytest.fixture(scope="session")
def tree():
    if not (corpus.TREE / "vllm").is_dir():
        pytest.skip("the pinned tree is not here; `nox -s anchors` fetches it")
    return corpus.TREE
