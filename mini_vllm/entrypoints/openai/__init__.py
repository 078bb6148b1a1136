r"""The engine behind HTTP, in the dialect that clients already speak.

A request is checked at the edge ({py:mod}`~mini_vllm.entrypoints.openai.edge`), becomes a typed
record ({py:mod}`~mini_vllm.entrypoints.openai.completion.protocol`,
{py:mod}`~mini_vllm.entrypoints.openai.chat_completion.protocol`), is admitted or turned away
({py:mod}`~mini_vllm.entrypoints.openai.admission`), and is answered at once or as a stream
({py:mod}`~mini_vllm.entrypoints.openai.streaming`).
{py:mod}`~mini_vllm.entrypoints.openai.api_server` puts the parts together, and
{py:mod}`mini_vllm.entrypoints.launcher` gives them a socket and takes their signals.

Nothing here is imported by `import mini_vllm`: the engine runs where FastAPI is not installed.
"""
