r"""The book's model: two small Llama checkpoints, and the code that made them.

Why train a model at all, when random weights would exercise the same kernels? Because half of what
this book measures is about *probabilities*: how often a draft model guesses right, how much a
quantized weight costs, whether sampled text is text. Random weights answer those questions wrongly.

| module | its noun |
|---|---|
| `corpus` | the pinned tree's own Python and docs, split into training and held-out files |
| `tokenizer` | a byte-level BPE of 4,096 entries, trained on the training files |
| `recipe` | every number that decides the result: shapes, tokens, learning rates, seeds |
| `batches` | which windows of text the model sees, in which order |
| `optimizer` | Muon for the matrices, AdamW for the rest, one schedule counted in tokens |
| `snapshot` | the state of a run, on disk, so that an interruption costs minutes |
| `journal` | what a run wrote down, one line of JSON every ten steps |
| `train` | the loop |
| `evaluate` | held-out loss, perplexity, bits per byte, samples |
| `samples` | three continuations, drawn by the book's own engine |
| `curves` | the pictures of the model card |
| `widen` | the same function at a 100M-parameter model's cost |

`python -m book.model` runs them in that order.
"""
