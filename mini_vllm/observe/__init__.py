r"""Ways to watch the engine without its knowing.

{py:mod}`~mini_vllm.observe.probe` writes down what each step did,
{py:mod}`~mini_vllm.observe.trace` turns that into tables, and {py:mod}`~mini_vllm.observe.audit`
holds each step against everything that must be true of it. All three stand outside: no line of the
engine mentions them.
"""
