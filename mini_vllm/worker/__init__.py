r"""Who keeps a request between two steps?

Two parties, and each keeps its own half. The scheduler keeps counters, queues and blocks, and
knows no tensor. The worker keeps what the model needs to go on: the tokens, the block table, the
sampling parameters, the generator. They talk in one direction per step, by a diff
({py:mod}`mini_vllm.core.scheduler_output`), and neither may look at the other's half. So the
worker is written as if the scheduler were in another process, which upstream it is.

- {py:mod}`~mini_vllm.worker.block_table`: where the past of each row is;
- {py:mod}`~mini_vllm.worker.input_batch`: the rows;
- {py:mod}`~mini_vllm.worker.model_runner`: from orders to tensors, to scores, to tokens.
"""
