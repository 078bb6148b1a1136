"""Make the real scheduler hold a request that never ends. No model, no weights, no GPU.

Write `main` (about twenty lines). What you need is in the sandbox, and is what upstream's own tests
use: `create_scheduler` and `create_requests` of `tests/v1/core/utils.py`. You play the model: after
each `scheduler.schedule()` hand back a `ModelRunnerOutput` with one token for every request that
was scheduled, and an empty list of tokens for none.

    1. A scheduler with a small `max_model_len`, and a request that asks for more `min_tokens` than
       there is room for. Read back `scheduler.max_model_len`: the helper's parameter of that name
       goes to another configuration than the one that the scheduler reads.
    2. At least forty steps. Bound your loop: nothing here ends by itself.
    3. When nothing is running any more, leave the loop. The same script is run once more after your
       fix, and must then end well.

`capstone rehearse check reproduce` does not read what you print. It watches the scheduler.
"""


def main() -> None:
    raise NotImplementedError("write the reproduction here")


if __name__ == "__main__":
    main()
