r"""Where does the tokenizer come from, and why does it take longer to import than to read?

From the checkpoint's own files, and nothing is fetched. Who reads them is a question of time. The
file `tokenizer.json` is complete, and the small library that wrote it reads it back in a blink.
transformers wraps that library, knows what older files mean, renders chat templates, and takes
longer to import than torch does; of all that, an engine that encodes and decodes uses nothing.

So a tokenizer whose configuration adds nothing to `tokenizer.json` is read directly
({py:class}`PlainTokenizer`); whatever else is asked of it goes to transformers, which is imported
then. All other tokenizers are transformers' from the start. An engine that speaks token ids only
loads neither. Code that a checkpoint brings along is never run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mini_vllm.engine.detokenizer import Tokenizer
from mini_vllm.errors import CheckpointError

# The keys of tokenizer_config.json under which transformers does what tokenizer.json says already.
_SPECIAL = ("eos_token", "bos_token", "pad_token", "unk_token")
_MORE_SPECIAL = ("extra_special_tokens", "additional_special_tokens")
_NEUTRAL = {"backend", "chat_template", "model_max_length", "tokenizer_class"}
_NEUTRAL |= {"clean_up_tokenization_spaces", *_SPECIAL, *_MORE_SPECIAL}
# The class names that mean "as the file says"; others rebuild parts of it.
_GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")


class PlainTokenizer:
    r"""A `tokenizer.json`, read by the library that wrote it.

    Has what {py:class}`~mini_vllm.engine.detokenizer.Tokenizer` promises. Any other attribute is
    that of the transformers tokenizer of the same directory, which is loaded when the first one is
    asked for: {py:attr}`wrapped`.
    """

    def __init__(self, directory: Path, backend: Any, eos_token_id: int | None) -> None:
        self.directory = directory
        self.backend_tokenizer = backend
        self.eos_token_id = eos_token_id
        self._wrapped: Any = None

    @property
    def wrapped(self) -> Any:
        """The same tokenizer as transformers has it."""
        if self._wrapped is None:
            self._wrapped = load_with_transformers(self.directory)
        return self._wrapped

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """From text to token ids, with the special tokens that begin a prompt."""
        return self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """From token ids to text."""
        return self.backend_tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens)

    def __len__(self) -> int:
        """How many tokens there are, special ones included."""
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Encode as transformers does, with all its options."""
        return self.wrapped(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        # Python asks here only for what the object lacks. Names with underscores are its own
        # questions (can this be copied, pickled?), and no reason to import a library.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.wrapped, name)


def load_tokenizer(directory: str | Path) -> Tokenizer:
    r"""Read the tokenizer of a checkpoint directory; nothing is fetched.

    Raises {py:class}`~mini_vllm.errors.CheckpointError` when there is none, or none that can be
    read.
    """
    plain = load_plain(Path(directory))
    return load_with_transformers(directory) if plain is None else plain


def load_plain(directory: Path) -> PlainTokenizer | None:
    r"""The tokenizer of `directory` if its `tokenizer.json` is all there is to it, else `None`."""
    files = [directory / name for name in ("tokenizer.json", "tokenizer_config.json")]
    more = ("added_tokens.json", "special_tokens_map.json")
    if not all(map(Path.exists, files)) or any((directory / name).exists() for name in more):
        return None
    import tokenizers

    try:
        config = json.loads(files[1].read_text(encoding="utf-8"))
        backend = tokenizers.Tokenizer.from_file(str(files[0]))
    except Exception:  # the library's errors have no common class; transformers will explain
        return None
    special = [config[key] for key in _SPECIAL if config.get(key) is not None]
    special += [token for key in _MORE_SPECIAL for token in config.get(key) or ()]
    known = {t.content for t in backend.get_added_tokens_decoder().values() if t.special}
    adds_nothing = (
        config.keys() <= _NEUTRAL
        and config.get("tokenizer_class") in _GENERIC_CLASSES
        and not config.get("clean_up_tokenization_spaces")
        and all(isinstance(token, str) and token in known for token in special)
    )
    if not adds_nothing:
        return None
    backend.no_truncation()
    backend.no_padding()
    eos = config.get("eos_token")
    return PlainTokenizer(directory, backend, None if eos is None else backend.token_to_id(eos))


def load_with_transformers(directory: str | Path) -> Tokenizer:
    r"""Read any tokenizer of a checkpoint directory, as `AutoTokenizer` does."""
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            str(directory), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{directory} has no tokenizer that can be read: {error}") from error
    return tokenizer
