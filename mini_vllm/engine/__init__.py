r"""The loop, and the way from text to tokens and back.

{py:mod}`~mini_vllm.engine.core` is the loop. In front of it stands
{py:mod}`~mini_vllm.engine.input_processor`, behind it
{py:mod}`~mini_vllm.engine.output_processor`, and {py:mod}`~mini_vllm.engine.llm_engine` is the
three of them as one object.
"""
