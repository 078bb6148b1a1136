"""A tokenizer.json read directly is the tokenizer that transformers makes of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.engine.tokenizer import PlainTokenizer, load_plain, load_with_transformers
from mini_vllm.errors import CheckpointError

CHECKPOINT = Path(__file__).parents[2] / "book" / "model" / "checkpoint"


@pytest.fixture(scope="module")
def both():
    plain = load_plain(CHECKPOINT)
    assert isinstance(plain, PlainTokenizer)
    return plain, load_with_transformers(CHECKPOINT)


TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(["<|im_start|>", "<|endoftext|>", " ", "\n", "def", "é", "🙂"])).map(
        "".join
    ),
)


@given(text=TEXTS, skip=st.booleans())
@settings(max_examples=200, deadline=None)
def test_encodes_and_decodes_as_transformers_does(both, text, skip):
    plain, wrapped = both
    ids = wrapped.encode(text)
    assert plain.encode(text) == ids
    assert plain.encode(text, add_special_tokens=False) == wrapped.encode(
        text, add_special_tokens=False
    )
    # Cut anywhere: half of a character must be spelled alike, too.
    for part in (ids, ids[1:], ids[: len(ids) // 2]):
        expected = wrapped.decode(part, skip_special_tokens=skip)
        assert plain.decode(part, skip_special_tokens=skip) == expected


def test_the_rest_is_transformers(both):
    plain, wrapped = both
    assert (plain.eos_token_id, len(plain)) == (wrapped.eos_token_id, len(wrapped))
    chat = [{"role": "user", "content": "hello"}]
    assert plain.apply_chat_template(chat, tokenize=False) == wrapped.apply_chat_template(
        chat, tokenize=False
    )
    assert plain(["a b"])["input_ids"] == wrapped(["a b"])["input_ids"]
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = plain.no_such_thing


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer_class": "Qwen2Tokenizer"},
        {"add_bos_token": True},
        {"clean_up_tokenization_spaces": True},
        {"bos_token": "<|not in the file|>"},
        {"eos_token": {"content": "<|endoftext|>", "lstrip": True}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_configuration_that_adds_something_is_left_to_transformers(tmp_path, change):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(CHECKPOINT / name, tmp_path)
    config = tmp_path / "tokenizer_config.json"
    assert load_plain(tmp_path) is not None
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    assert load_plain(tmp_path) is None


@pytest.mark.parametrize("file", ["special_tokens_map.json", "added_tokens.json"])
def test_further_files_are_left_to_transformers(tmp_path, file):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(CHECKPOINT / name, tmp_path)
    (tmp_path / file).write_text("{}")
    assert load_plain(tmp_path) is None


def test_no_tokenizer_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="no tokenizer"):
        load_with_transformers(tmp_path)


def test_an_engine_that_makes_text_does_not_import_transformers():
    program = (
        "import sys\n"
        "from mini_vllm.engine.tokenizer import load_tokenizer\n"
        f"tokenizer = load_tokenizer({str(CHECKPOINT)!r})\n"
        "assert tokenizer.decode(tokenizer.encode('import os')) == 'import os'\n"
        "print(*sorted({'torch', 'transformers'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
