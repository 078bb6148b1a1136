r"""What is left of a transformer when the matrix products are taken away?

Little, and it is all here: a norm, a rotation, a gated activation, two tables of embeddings, and
the attention that ties them together. Each is an ordinary `torch.nn.Module` that can be built and
called in two lines, with no global to set and no process group to start:

```python
norm = RMSNorm(64, eps=1e-6)
y = norm(torch.randn(3, 64))
```

All work on a flat batch, `[num_tokens, size]`: there is no axis for requests and none for the
sequence, since the tokens of a step belong to many requests and only attention cares whose they
are. What attention must know comes as an argument,
{py:class}`~mini_vllm.attention.metadata.AttentionMetadata`.

A layer also says where its weights come from: {py:mod}`~mini_vllm.layers.weight_slot` turns that
into a table which the loader can check before it reads a byte.
"""
