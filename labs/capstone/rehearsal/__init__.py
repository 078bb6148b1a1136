r"""One real defect of the pinned vLLM, taken through all that a pull request asks for.

At the pin, a request whose `min_tokens` lie beyond the room that it has is never asked whether it
has reached a limit ({up}`vllm/v1/core/sched/utils.py#check_stop@"< sampling_params.min_tokens"`).
It stays RUNNING, is given no token in any further step, and never ends. Upstream has repaired this
in a later release, so what you make of it can be compared with what was merged.

Eight steps, each checked by running something: reproduce, triage, plan, test, baseline, fix, after,
describe. All of it happens in `.labs/capstone/rehearsal/`, in a copy of the pinned tree that is a
git repository of its own. Nothing is sent anywhere, and nothing of upstream enters this repository.

Of a second defect there is the reproduction ({py:mod}`capstone.rehearsal.second`) and no more: a
pair of `max_tokens` and `min_tokens` that ends the engine's input thread.
"""
