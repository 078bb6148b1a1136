r"""What does the model write? Three continuations, drawn by the book's own engine.

Sampled, not greedy: a model of this size that always takes the likeliest token soon repeats itself.
The prompts were picked from a handful, the seeds are 1, 2 and 3, and each completion is printed as
it came.

    python -m book.model.samples
"""

from __future__ import annotations

from book.model import corpus, journal
from mini_vllm import LLM, SamplingParams

PROMPTS = (
    ("import torch\n", 1),
    ("class RMSNorm(nn.Module):\n", 2),
    ("    def schedule(self) -> SchedulerOutput:\n", 3),
)
TEMPERATURE, TOP_P, MAX_TOKENS = 0.7, 0.9, 160


def main() -> None:
    r"""Write `training/samples.md`."""
    llm = LLM(model=str(corpus.HERE / "checkpoint"), dtype="float32", max_model_len=1024)
    prompts = [prompt for prompt, _ in PROMPTS]
    params = [
        SamplingParams(temperature=TEMPERATURE, top_p=TOP_P, max_tokens=MAX_TOKENS, seed=seed)
        for _, seed in PROMPTS
    ]
    outputs = llm.generate(prompts, params)
    parts = [
        "Written by `python -m book.model.samples`: "
        f"`temperature={TEMPERATURE}`, `top_p={TOP_P}`, `max_tokens={MAX_TOKENS}`. "
        "The first lines of each are the prompt.\n"
    ]
    for (prompt, seed), output in zip(PROMPTS, outputs, strict=True):
        text = (prompt + output.outputs[0].text).rstrip()
        parts.append(f"Seed {seed}:\n\n````python\n{text}\n````\n")
    path = journal.FOLDER / "samples.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
