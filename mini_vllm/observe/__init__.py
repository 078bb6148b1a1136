r"""Ways to watch the engine without its knowing.

{py:mod}`~mini_vllm.observe.probe` writes down what each step did,
{py:mod}`~mini_vllm.observe.trace` turns that into tables, {py:mod}`~mini_vllm.observe.perfetto`
into tracks on a time axis, {py:mod}`~mini_vllm.observe.trace_file` into a file that can be read
again, and {py:mod}`~mini_vllm.observe.audit` holds each step against everything that must be true
of it. All of these stand outside: no line of the engine mentions them.

{py:mod}`~mini_vllm.observe.metrics` is the other way to look: not at one run, but at all of them,
for as long as a server lives.
"""
