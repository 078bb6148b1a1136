r"""Any text survives the round trip, and no text can forge a special token's meaning unseen."""

from hypothesis import given
from hypothesis import strategies as st

from book.model.tokenizer import END_OF_TEXT, SPECIAL_TOKENS, VOCAB_SIZE

text = st.text() | st.text(alphabet="ab_ \n\t=():'\"0123456789.#é漢🙂")


@given(text)
def test_round_trip(tokenizer, text):
    ids = tokenizer.encode(text)
    assert all(0 <= token < VOCAB_SIZE for token in ids)
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


@given(st.binary(max_size=32))
def test_every_byte_has_a_token(tokenizer, raw):
    text = raw.decode("latin-1")
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_vocabulary_is_what_the_model_has():
    from transformers import AutoTokenizer

    from book.model import corpus

    for name in ("checkpoint", "draft"):
        tokenizer = AutoTokenizer.from_pretrained(corpus.HERE / name)
        assert len(tokenizer) == VOCAB_SIZE
        assert tuple(tokenizer.convert_ids_to_tokens([0, 1, 2])) == SPECIAL_TOKENS
        assert tokenizer.eos_token == tokenizer.pad_token == END_OF_TEXT
        assert tokenizer.eos_token_id == 0


def test_nothing_is_added_to_a_prompt(tokenizer):
    assert tokenizer.encode("import torch\n") == tokenizer.encode(
        "import torch\n", add_special_tokens=False
    )
    assert tokenizer.encode("") == []


def test_code_is_cheap(tokenizer):
    r"""The merges come from Python: a line of it takes about a token per four bytes."""
    line = "        self.num_computed_tokens = num_computed_tokens\n"
    assert len(tokenizer.encode(line)) <= len(line) // 4
    assert len(tokenizer.encode("        return")) == 2
    assert len(tokenizer.encode("(self")) == 1


def test_the_chat_template_marks_turns(tokenizer):
    messages = [{"role": "user", "content": "What is a block?"}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>user\nWhat is a block?<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer.encode(prompt)
    assert [token for token in ids if token < len(SPECIAL_TOKENS)] == [1, 2, 1]
