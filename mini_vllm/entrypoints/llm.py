r"""What does the shortest script look like?

```python
from mini_vllm import LLM, SamplingParams

llm = LLM(model="book/model/checkpoint")
for output in llm.generate(["def add(a, b):", "import os\n"], SamplingParams(temperature=0)):
    print(output.outputs[0].text)
```

Change the first line to `from vllm import ...` and the script runs on the real engine: names,
defaults and shapes are the same for all that both have.

{py:meth}`LLM.generate` adds every prompt at once and steps until the last has ended. It does not
make batches: the {py:mod}`scheduler <mini_vllm.core.scheduler>` does, per step, and hands the
results out in the order of the prompts however they finish.

Upstream: {up}`vllm/entrypoints/llm.py#LLM`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from mini_vllm.engine.detokenizer import Tokenizer
from mini_vllm.engine.input_processor import PromptType
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.errors import ConfigError, RequestError
from mini_vllm.outputs import RequestOutput
from mini_vllm.sampling_params import RequestOutputKind, SamplingParams


class LLM:
    r"""An engine for scripts: prompts in, answers out.

    `model` is a checkpoint directory or a hub id. The keywords are those of
    {py:class}`~mini_vllm.engine.engine_args.EngineArgs`, under vLLM's names; a keyword of vLLM
    that this engine lacks raises {py:class}`~mini_vllm.errors.ConfigError` unless its value asks
    for nothing.
    """

    def __init__(self, model: str, **keywords: Any) -> None:
        self.llm_engine = LLMEngine.from_keywords(model, **keywords)
        self._request_counter = count()

    @classmethod
    def from_engine(cls, llm_engine: LLMEngine) -> LLM:
        """Wrap an engine that was built by hand, such as a scripted one."""
        llm = cls.__new__(cls)
        llm.llm_engine = llm_engine
        llm._request_counter = count()
        return llm

    def get_tokenizer(self) -> Tokenizer:
        """Return the tokenizer; a {py:class}`~mini_vllm.errors.ConfigError` when there is none."""
        if self.llm_engine.tokenizer is None:
            raise ConfigError("this engine was built with skip_tokenizer_init=True")
        return self.llm_engine.tokenizer

    def generate(
        self,
        prompts: PromptType | Sequence[PromptType],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = False,
        priority: Sequence[int] | None = None,
    ) -> list[RequestOutput]:
        r"""Answer all prompts; returns one output per prompt, in their order.

        A prompt is text, `{"prompt": text}` or `{"prompt_token_ids": ids}`. One `sampling_params`
        serves all, or a list gives each its own. `use_tqdm` draws a bar on the terminal.

        Raises {py:class}`~mini_vllm.errors.RequestError` when any prompt cannot be served; then
        none of them is.
        """
        if isinstance(prompts, (str, Mapping)):
            prompts = [prompts]
        params = _one_each("sampling_params", sampling_params or SamplingParams(), len(prompts))
        priorities = _one_each("priority", 0 if priority is None else priority, len(prompts))
        request_ids: list[str] = []
        try:
            for prompt, one, urgency in zip(prompts, params, priorities, strict=True):
                # Nobody reads what lies between, so do not make it.
                final_only = one.clone()
                final_only.output_kind = RequestOutputKind.FINAL_ONLY
                request_id = str(next(self._request_counter))
                self.llm_engine.add_request(request_id, prompt, final_only, priority=urgency)
                request_ids.append(request_id)
            outputs = self._run_engine(len(request_ids), use_tqdm)
        except BaseException:
            # A refused prompt, or Ctrl-C: do not leave the others behind for the next call to find.
            self.llm_engine.abort_request(request_ids)
            raise
        return [outputs[request_id] for request_id in request_ids]

    def _run_engine(self, num_requests: int, use_tqdm: bool) -> dict[str, RequestOutput]:
        """Step until every request has ended; return the ends by id."""
        outputs: dict[str, RequestOutput] = {}
        bar = None
        if use_tqdm:
            from tqdm import tqdm

            bar = tqdm(total=num_requests, desc="Processed prompts")
        while self.llm_engine.has_unfinished_requests():
            for output in self.llm_engine.step():
                outputs[output.request_id] = output
                if bar is not None:
                    bar.update()
        if bar is not None:
            bar.close()
        return outputs


def _one_each(name: str, value: Any, num_prompts: int) -> Sequence[Any]:
    """Repeat a single value for each prompt; check the length of a list."""
    if not isinstance(value, Sequence):
        return [value] * num_prompts
    if len(value) != num_prompts:
        raise RequestError(
            f"{name} has {len(value)} entries for {num_prompts} prompts",
            parameter=name,
            value=value,
        )
    return value
