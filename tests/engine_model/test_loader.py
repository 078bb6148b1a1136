"""Checkpoints that fit, and every way of not fitting; config.json read in both spellings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file

from mini_vllm.errors import CheckpointError
from mini_vllm.layers.weight_slot import check_cover, named_slots
from mini_vllm.loader import load_model, load_weights, resolve_checkpoint, stored_tensors
from mini_vllm.models.decoder import DecoderForCausalLM
from mini_vllm.models.registry import ADAPTERS, decoder_config


def read_config(directory):
    return json.loads((directory / "config.json").read_text())


def load(directory, dtype=torch.float32):
    return load_model(
        decoder_config(read_config(directory)),
        directory,
        max_position=32,
        device=torch.device("cpu"),
        dtype=dtype,
    )


@pytest.fixture
def copy(make_checkpoint, tmp_path):
    """A checkpoint that may be spoiled, with its tensors as a dict to edit and write back."""

    def make(name="llama"):
        directory = tmp_path / "checkpoint"
        shutil.copytree(make_checkpoint(name), directory)
        return directory, load_file(directory / "model.safetensors")

    return make


def write(directory, tensors):
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, directory / "model.safetensors")


class TestWeights:
    def test_every_tensor_lands_where_it_belongs(self, make_checkpoint, tools):
        for name in tools.architectures:
            directory = make_checkpoint(name)
            model = load(directory)
            slots = named_slots(model)
            for tensor_name, tensor in load_file(directory / "model.safetensors").items():
                slot = slots[tensor_name]
                rows = slot.parameter[slot.start : slot.start + slot.length]
                assert torch.equal(rows, tensor), (name, tensor_name)

    def test_types_are_converted(self, make_checkpoint):
        model = load(make_checkpoint("qwen3"), torch.bfloat16)
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
        assert model.model.layers[0].self_attn.rotary.cos_sin_cache.dtype == torch.float32
        assert torch.get_default_dtype() == torch.float32

    def test_shards_equal_the_single_file(self, make_checkpoint):
        one, many = (
            load(make_checkpoint("llama")),
            load(make_checkpoint("llama", shard_size="60KB")),
        )
        for (name, a), (_, b) in zip(one.named_parameters(), many.named_parameters(), strict=True):
            assert torch.equal(a, b), name

    def test_missing_surplus_and_misshapen_are_all_named(self, copy):
        directory, tensors = copy()
        del tensors["model.layers.1.mlp.up_proj.weight"]
        tensors["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(64)
        tensors["model.norm.weight"] = torch.zeros(63)
        write(directory, tensors)
        with pytest.raises(CheckpointError) as error:
            load(directory)
        message = str(error.value)
        assert "missing: model.layers.1.mlp.up_proj.weight" in message
        assert "surplus: model.layers.0.self_attn.q_proj.bias" in message
        assert "model.norm.weight has shape [63], the model wants [64]" in message

    def test_another_prefix_loads_nothing_and_says_so__nano_vllm_97(self, copy):
        """A loader that copies what it recognises would report success, and generate noise."""
        directory, tensors = copy()
        write(directory, {"transformer." + name: t for name, t in tensors.items()})
        with pytest.raises(
            CheckpointError, match=r"missing: .*and \d+ more; surplus: transformer\."
        ):
            load(directory)

    def test_nothing_is_written_before_all_is_checked(self, copy):
        directory, tensors = copy()
        model = load(directory)
        before = [p.clone() for p in model.parameters()]
        tensors = {name: tensor + 1 for name, tensor in tensors.items()}
        tensors["model.norm.weight"] = torch.zeros(1)
        write(directory, tensors)
        with pytest.raises(CheckpointError):
            load_weights(model, directory)
        assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))

    def test_integers_are_no_weights(self, copy):
        directory, tensors = copy()
        tensors["model.norm.weight"] = torch.ones(64, dtype=torch.int8)
        write(directory, tensors)
        with pytest.raises(CheckpointError, match=r"model\.norm\.weight is stored as I8"):
            load(directory)

    def test_a_computed_table_in_an_old_checkpoint_is_passed_over(self, copy):
        directory, tensors = copy()
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)
        write(directory, tensors)
        load(directory)

    def test_a_tied_table_may_come_twice_if_it_is_the_same(self, copy):
        directory, tensors = copy("qwen3")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        write(directory, tensors)
        load(directory)
        tensors["lm_head.weight"][3, 3] += 1
        write(directory, tensors)
        with pytest.raises(CheckpointError, match="two different tables"):
            load(directory)

    def test_slots_cover_every_model(self, make_checkpoint, tools):
        for name in tools.architectures:
            config = decoder_config(read_config(make_checkpoint(name)))
            model = DecoderForCausalLM(config, 16)
            check_cover(model, named_slots(model))


class TestFiles:
    def test_pickles_are_refused_by_name(self, copy):
        directory, _ = copy()
        (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
        with pytest.raises(CheckpointError, match=r"no \.safetensors file; pytorch_model\.bin"):
            load(directory)

    def test_a_file_that_is_no_safetensors_file(self, copy):
        directory, _ = copy()
        (directory / "model.safetensors").write_bytes(b"\x80\x04 not a header")
        with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
            load(directory)

    def test_a_truncated_file(self, copy):
        directory, _ = copy()
        file = directory / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(CheckpointError, match="cannot be read"):
            load(directory)

    @pytest.fixture
    def sharded(self, make_checkpoint, tmp_path):
        directory = tmp_path / "sharded"
        shutil.copytree(make_checkpoint("llama", shard_size="60KB"), directory)
        return directory, directory / "model.safetensors.index.json"

    def test_a_missing_shard_is_named(self, sharded):
        directory, index = sharded
        shard = sorted(set(json.loads(index.read_text())["weight_map"].values()))[1]
        (directory / shard).unlink()
        with pytest.raises(CheckpointError, match=f"lacks files of its index: {shard}"):
            load(directory)

    def test_an_index_that_lies(self, sharded):
        directory, index = sharded
        content = json.loads(index.read_text())
        files = list(content["weight_map"].values())
        # A tensor that does not have its file to itself, or the file would be off the index too.
        name, file = next((n, f) for n, f in content["weight_map"].items() if files.count(f) > 1)
        content["weight_map"][name] = next(f for f in files if f != file)
        index.write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=f"{name} is in {file}, against the index"):
            stored_tensors(directory)

    def test_an_index_that_promises_too_much(self, sharded):
        directory, index = sharded
        content = json.loads(index.read_text())
        content["weight_map"]["ghost.weight"] = next(iter(content["weight_map"].values()))
        index.write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=r"no file has: ghost\.weight"):
            stored_tensors(directory)

    def test_an_index_that_is_not_one(self, sharded):
        directory, index = sharded
        index.write_text("[]")
        with pytest.raises(CheckpointError, match="is not an index of tensors"):
            stored_tensors(directory)

    def test_a_tensor_twice(self, copy):
        directory, tensors = copy()
        save_file({"model.norm.weight": tensors["model.norm.weight"]}, directory / "z.safetensors")
        with pytest.raises(CheckpointError, match=r"model\.norm\.weight is in model.*and in z\."):
            stored_tensors(directory)


class TestConfig:
    base: ClassVar = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 100,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
    }

    def read(self, **changes):
        return decoder_config({**self.base, **changes})

    def test_guesses_are_resolved(self):
        config = self.read()
        assert (config.num_kv_heads, config.head_size, config.tie_word_embeddings) == (4, 16, False)
        assert config.sliding_windows == (None, None, None)
        assert self.read(head_dim=40).head_size == 40
        assert self.read(num_key_value_heads=1).num_kv_heads == 1

    def test_bytes_per_token(self):
        config = self.read(num_key_value_heads=2)
        # keys and values, 3 layers, 2 heads of 16 numbers, 4 bytes each
        assert config.kv_cache_bytes_per_token(4) == 2 * 3 * 2 * 16 * 4

    def test_what_differs_by_architecture(self):
        qwen2 = self.read(architectures=["Qwen2ForCausalLM"], sliding_window=9)
        assert qwen2.qkv_bias
        assert not qwen2.attention_output_bias
        assert qwen2.sliding_windows == (None, None, None)
        windowed = self.read(
            architectures=["Qwen2ForCausalLM"],
            use_sliding_window=True,
            sliding_window=9,
            max_window_layers=2,
        )
        assert windowed.sliding_windows == (None, None, 9)
        assert self.read(architectures=["Qwen3ForCausalLM"]).qk_norm
        mistral = {"architectures": ["MistralForCausalLM"], "num_key_value_heads": 2}
        assert self.read(**mistral, sliding_window=9).sliding_windows == (9, 9, 9)
        assert self.read(**mistral, sliding_window=None).sliding_windows == (None,) * 3
        assert self.read(**mistral).sliding_windows == (4096,) * 3
        llama = self.read(attention_bias=True)
        assert llama.qkv_bias
        assert llama.attention_output_bias

    def test_layer_types_decide(self):
        kinds = ["sliding_attention", "full_attention", "sliding_attention"]
        config = self.read(
            architectures=["Qwen3ForCausalLM"],
            use_sliding_window=True,
            sliding_window=7,
            layer_types=kinds,
        )
        assert config.sliding_windows == (7, None, 7)

    def test_an_unknown_architecture_lists_the_known(self):
        with pytest.raises(CheckpointError, match=r"\(GPT2LMHeadModel\); supported are Llama") as e:
            self.read(architectures=["GPT2LMHeadModel"])
        assert all(name in str(e.value) for name in ADAPTERS)
        with pytest.raises(CheckpointError, match=r"\(none\)"):
            self.read(architectures=None)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"hidden_act": "gelu"}, "hidden_act must be 'silu', got 'gelu'"),
            ({"quantization_config": {"quant_method": "awq"}}, "quant_method 'awq'"),
            ({"hidden_size": None}, "hidden_size as a positive integer, got None"),
            ({"num_hidden_layers": 0}, "num_hidden_layers as a positive integer, got 0"),
            ({"num_key_value_heads": 3}, "num_attention_heads=4 is not a multiple of .*=3"),
            ({"head_dim": 15}, "head_dim=15 is odd"),
        ],
    )
    def test_refusals(self, changes, message):
        with pytest.raises(CheckpointError, match=message):
            self.read(**changes)

    def test_layer_types_must_fit(self):
        with pytest.raises(CheckpointError, match="layer_types must name 3 layers"):
            self.read(
                architectures=["Qwen3ForCausalLM"],
                use_sliding_window=True,
                sliding_window=7,
                layer_types=["full_attention"],
            )


class Hub(BaseHTTPRequestHandler):
    """The part of a model hub that `snapshot_download` talks to, on loopback."""

    directory: Path
    fetched: ClassVar[list[str]]
    commit = "0123456789abcdef0123456789abcdef01234567"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        path = self.path.split("?")[0]
        prefix = f"/tiny/llama/resolve/{self.commit}/"
        files = sorted(p.name for p in self.directory.iterdir())
        if path.startswith("/api/models/tiny/llama"):
            siblings = [{"rfilename": name} for name in files]
            body = json.dumps({"id": "tiny/llama", "sha": self.commit, "siblings": siblings})
            if "/tree/" in path:
                entries = [{"type": "file", "path": n, "size": 1, "oid": "0" * 40} for n in files]
                body = json.dumps(entries)
            self.reply(body.encode(), with_body)
        elif path.startswith(prefix) and path.removeprefix(prefix) in files:
            name = path.removeprefix(prefix)
            if with_body:
                self.fetched.append(name)
            self.reply((self.directory / name).read_bytes(), with_body, etag=name)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def reply(self, body, with_body, etag="api"):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def hub(make_checkpoint, tmp_path):
    """A hub with one repository, `tiny/llama`, that also holds things nobody should fetch."""
    directory = tmp_path / "served"
    shutil.copytree(make_checkpoint("llama"), directory)
    (directory / "pytorch_model.bin").write_bytes(b"pickle")
    (directory / "modeling_evil.py").write_text("raise SystemExit")
    handler = type("ThisHub", (Hub,), {"directory": directory, "fetched": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.fetched
    server.shutdown()
    thread.join()


def resolve_in_child(tmp_path, endpoint, model, offline=False):
    # The hub's client reads its settings when it is imported: a process of its own.
    code = (
        "import sys; from mini_vllm.loader import resolve_checkpoint\n"
        "try: print(resolve_checkpoint(sys.argv[1]))\n"
        "except Exception as e: print(type(e).__name__, e)"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_HUB_OFFLINE": "1" if offline else "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    env |= {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", code, model],
        env=env,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=120,
        check=True,
    )
    return done.stdout.strip().splitlines()[-1]


class TestResolve:
    def test_a_directory_is_taken_as_it_is(self, make_checkpoint):
        directory = make_checkpoint("llama")
        assert resolve_checkpoint(directory) == directory
        assert resolve_checkpoint(str(directory)) == directory

    def test_a_path_that_does_not_exist_is_not_looked_up_on_a_hub(self):
        for path in ("/no/such/dir", "./nothing", "a/b/c", "../x"):
            with pytest.raises(CheckpointError, match="no checkpoint directory"):
                resolve_checkpoint(path)

    def test_a_file_is_no_directory(self, make_checkpoint):
        with pytest.raises(CheckpointError, match="is a file"):
            resolve_checkpoint(make_checkpoint("llama") / "config.json")

    def test_an_id_is_fetched_then_found_offline__nano_vllm_97(self, hub, tmp_path):
        """A model id instead of a path must load the model, and nothing but the model."""
        endpoint, fetched = hub
        directory = Path(resolve_in_child(tmp_path, endpoint, "tiny/llama"))
        assert (directory / "config.json").exists(), directory
        assert sorted(fetched) == ["config.json", "generation_config.json", "model.safetensors"]
        load(directory)
        again = resolve_in_child(tmp_path, "http://127.0.0.1:9", "tiny/llama", offline=True)
        assert Path(again) == directory

    def test_an_id_that_no_hub_has(self, hub, tmp_path):
        endpoint, _ = hub
        message = resolve_in_child(tmp_path, endpoint, "tiny/unknown")
        assert message.startswith("CheckpointError 'tiny/unknown' is no directory, and the hub at")
        assert endpoint in message
