r"""Did every byte of the checkpoint end up where it belongs?

"It loaded" is not an answer. The failures that matter are quiet: a name with another prefix, so
that nothing matched and the model runs on whatever was in memory; a bias that the layer holds and
the loader never saw; half of the shards. So loading is done as a reconciliation of two lists,
before any tensor is read.

One list is what the model wants: the {py:class}`~mini_vllm.layers.weight_slot.WeightSlot`s that
its layers publish. The other is what the files have: names and shapes, from the headers. Whatever
is on one list and not on the other is an error, and so is a shape that differs; all of it is
reported at once, by name.

```text
model wants                             checkpoint has
model.layers.0.self_attn.q_proj.weight  model.layers.0.self_attn.q_proj.weight  ok
model.layers.0.self_attn.q_proj.bias    -                                       missing
-                                       model.layers.0.self_attn.rope.weight    surplus
model.norm.weight [256]                 model.norm.weight [512]                 wrong shape
```

Only safetensors files are read. A `.bin` file is a pickle, and reading a pickle runs
whatever its author wrote; a safetensors file is a table of names, types and offsets, followed by
numbers. No code from a checkpoint is ever run either.

Upstream reads weights in
{up}`vllm/model_executor/model_loader/default_loader.py#DefaultModelLoader`, and asks the second
question (is every parameter filled?) with
{up}`vllm/model_executor/model_loader/default_loader.py#DefaultModelLoader.track_weights_loading`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from mini_vllm.attention.backend import AttentionBackend
from mini_vllm.errors import CheckpointError
from mini_vllm.kernels.interface import Kernels
from mini_vllm.layers.embedding import OutputHead
from mini_vllm.layers.linear import Linear
from mini_vllm.layers.weight_slot import check_cover, named_slots
from mini_vllm.models.decoder import DecoderForCausalLM, DecoderModel
from mini_vllm.models.decoder_config import DecoderConfig
from mini_vllm.platforms import prefer_big_pages

#: What is fetched from a hub: weights, configs and tokenizers, never code and never pickles.
HUB_PATTERNS = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
)
_INDEX = "model.safetensors.index.json"
# Tables that old checkpoints carry and the model computes for itself.
_COMPUTED = re.compile(r"\.rotary_emb\.inv_freq$")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_FLOATS = {"F64", "F32", "BF16", "F16"}


def resolve_checkpoint(model: str | Path) -> Path:
    r"""The directory of a checkpoint, from its path or from its id on a hub.

    A directory is taken as it is. Anything else that looks like an id (`org/name`) is fetched, or
    found in the local cache, by `huggingface_hub`, which honours `HF_ENDPOINT`, `HF_HOME` and
    `HF_HUB_OFFLINE`; only {py:data}`HUB_PATTERNS` are fetched. Raises
    {py:class}`~mini_vllm.errors.CheckpointError` for a path that does not exist and for an id that
    cannot be had.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{path} is a file; give the directory that holds the checkpoint")
    if not _HUB_ID.fullmatch(str(model)):
        raise CheckpointError(f"there is no checkpoint directory {str(model)!r}")

    import huggingface_hub

    try:
        fetched = huggingface_hub.snapshot_download(str(model), allow_patterns=list(HUB_PATTERNS))
    except Exception as error:  # the hub's client raises many kinds, and each means: not here
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{str(model)!r} is no directory, and the hub at {huggingface_hub.constants.ENDPOINT} "
            f"does not give it: {reason}"
        ) from error
    return Path(fetched)


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a checkpoint, as the header of its file describes it."""

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: str


def stored_tensors(directory: Path) -> dict[str, StoredTensor]:
    r"""All tensors of a checkpoint by name, from the headers of its files; reads no weights.

    With an index, the files are those that it lists, and each tensor must be where the index says.
    Without one, they are all `.safetensors` files of the directory.
    """
    index = directory / _INDEX
    placed: dict[str, str] = {}
    if index.exists():
        try:
            placed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise CheckpointError(f"{index} is not an index of tensors: {error!r}") from None
        files = [directory / name for name in sorted(set(placed.values()))]
        missing = [file.name for file in files if not file.exists()]
        if missing:
            raise CheckpointError(f"{directory} lacks files of its index: {_names(missing)}")
    else:
        files = sorted(directory.glob("*.safetensors"))
    if not files:
        pickles = sorted(p.name for p in directory.glob("*") if p.suffix in (".bin", ".pt", ".pth"))
        hint = f"; {_names(pickles)} would have to be unpickled, which runs code" if pickles else ""
        raise CheckpointError(f"{directory} has no .safetensors file{hint}")

    found: dict[str, StoredTensor] = {}
    for file in files:
        for tensor in _header(file):
            if tensor.name in found:
                raise CheckpointError(
                    f"{tensor.name} is in {found[tensor.name].file.name} and in {file.name}"
                )
            if placed and placed.get(tensor.name) != file.name:
                raise CheckpointError(f"{tensor.name} is in {file.name}, against the index")
            found[tensor.name] = tensor
    absent = sorted(placed.keys() - found.keys())
    if absent:
        raise CheckpointError(f"the index lists tensors that no file has: {_names(absent)}")
    return found


def load_weights(model: DecoderForCausalLM, directory: Path) -> None:
    r"""Fill every parameter of `model` from a checkpoint, or raise and say what does not fit.

    Raises {py:class}`~mini_vllm.errors.CheckpointError` listing every missing and surplus tensor
    and every wrong shape (name, wanted, found). Types are converted to the model's. An output
    table that comes with tied embeddings is accepted if it equals the embedding, bit for bit.
    """
    slots = named_slots(model)
    check_cover(model, slots)
    stored = {n: t for n, t in stored_tensors(directory).items() if not _COMPUTED.search(n)}
    tied = stored.pop("lm_head.weight", None) if model.lm_head.tied else None

    problems = []
    if missing := sorted(slots.keys() - stored.keys()):
        problems.append(f"missing: {_names(missing)}")
    if surplus := sorted(stored.keys() - slots.keys()):
        problems.append(f"surplus: {_names(surplus)}")
    for name in sorted(slots.keys() & stored.keys()):
        if stored[name].shape != slots[name].shape:
            problems.append(
                f"{name} has shape {list(stored[name].shape)}, "
                f"the model wants {list(slots[name].shape)}"
            )
        if stored[name].dtype not in _FLOATS:
            problems.append(f"{name} is stored as {stored[name].dtype}, which is no plain float")
    if problems:
        raise CheckpointError(f"{directory} does not fit its config.json; " + "; ".join(problems))

    with ExitStack() as stack:
        open_files = {
            file: stack.enter_context(safe_open(file, framework="pt"))
            for file in {tensor.file for tensor in stored.values()}
        }
        for name, slot in slots.items():
            slot.fill(open_files[stored[name].file].get_tensor(name))
    if tied is not None:
        _check_tied(model, tied)


def load_model(
    config: DecoderConfig,
    directory: Path,
    *,
    max_position: int,
    device: torch.device,
    dtype: torch.dtype,
    backend: AttentionBackend | None = None,
    kernels: Kernels | None = None,
) -> DecoderForCausalLM:
    r"""Build the model of `config` on `device` in `dtype`, and fill it from `directory`.

    The weights are final then, and every layer that wants to prepare its own may
    ({up}`vllm/model_executor/model_loader/utils.py#process_weights_after_loading`).
    """
    with device, default_dtype(dtype):
        model = DecoderForCausalLM(config, max_position, backend, kernels)
    for parameter in model.parameters():
        prefer_big_pages(parameter)
    load_weights(model, directory)
    for module in model.modules():
        if isinstance(module, (DecoderModel, Linear, OutputHead)):
            module.process_weights_after_loading()
    return model.eval()


@contextmanager
def default_dtype(dtype: torch.dtype):
    r"""Within the block, new parameters have this type.

    Upstream: {up}`vllm/utils/torch_utils.py#set_default_torch_dtype`.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _header(file: Path) -> Iterable[StoredTensor]:
    try:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (not a dict)
                part = opened.get_slice(name)
                yield StoredTensor(name, file, tuple(part.get_shape()), part.get_dtype())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read as safetensors: {error}") from None


def _check_tied(model: DecoderForCausalLM, tied: StoredTensor) -> None:
    with safe_open(tied.file, framework="pt") as opened:
        table = opened.get_tensor(tied.name)
    weight = model.lm_head.weight
    if tied.shape != tuple(weight.shape) or not torch.equal(table.to(weight), weight):
        raise CheckpointError(
            "config.json ties lm_head.weight to model.embed_tokens.weight, "
            "and the checkpoint has two different tables"
        )


def _names(names: Iterable[str], limit: int = 8) -> str:
    listed = list(names)
    rest = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + rest
