r"""How does source code become one of 4,096 integers at a time?

Byte-level BPE. Every byte is a token to begin with, so no text is out of vocabulary and decoding
gives back the bytes exactly. Training then merges the pair of neighbours that is most frequent,
again and again, until the vocabulary is full; ` return`, `(self` and the seven spaces before
an indented word become one token each because this corpus is Python.

4,096 is a compromise that a small model forces. The embedding costs `vocab x hidden` parameters:
at 4,096 x 256 that is a million, already a quarter of the model. Half the vocabulary would free
half of those, and make every sequence longer, in tokens, time and cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCAB_SIZE = 4096
END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>")

# Where merges may not cross: contractions, a word with the one sign before it, single digits, runs
# of signs with the line ends after them, line ends with the blanks before them, other blanks.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train(texts: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    r"""Learn the merges from `texts`; the special tokens take ids 0, 1 and 2.

    `max_length` is the `model_max_length` that the tokenizer reports. No token is added to a text
    on encoding: a prompt's ids are exactly its bytes' ids.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=max_length,
    )


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    r"""Write `tokenizer.json`, `tokenizer_config.json` and the chat template to `folder`."""
    tokenizer.save_pretrained(folder)
    # transformers 5 writes the name of its internal class; this one every version can load
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
