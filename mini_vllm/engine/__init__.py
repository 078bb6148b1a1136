r"""The loop, and the way from text to tokens and back.

{py:mod}`~mini_vllm.engine.core` is the loop. In front of it stands
{py:mod}`~mini_vllm.engine.input_processor`, behind it
{py:mod}`~mini_vllm.engine.output_processor`, and {py:mod}`~mini_vllm.engine.llm_engine` is the
three of them as one object, for a script.

A server puts a border between them: {py:mod}`~mini_vllm.engine.core_proc` is the loop in a process
of its own, {py:mod}`~mini_vllm.engine.core_messages` is what crosses, and
{py:mod}`~mini_vllm.engine.async_llm` is the front-end that two hundred tasks may call at once.
"""
