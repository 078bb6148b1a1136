r"""Where does the tokenizer come from?

From the checkpoint's own files, through transformers, which is imported here and now and not
before: an engine that speaks token ids only never loads it. Code that a checkpoint brings along is
never run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mini_vllm.engine.detokenizer import Tokenizer
from mini_vllm.errors import CheckpointError


def load_tokenizer(directory: str | Path) -> Tokenizer:
    r"""Read the tokenizer of a checkpoint directory; nothing is fetched.

    Raises {py:class}`~mini_vllm.errors.CheckpointError` when there is none, or none that can be
    read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            str(directory), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{directory} has no tokenizer that can be read: {error}") from error
    return tokenizer
