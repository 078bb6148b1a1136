"""A scripted learner's reproduction: forty-two tokens wanted, twelve fit."""

from tests.v1.core.utils import create_requests, create_scheduler
from vllm.v1.outputs import ModelRunnerOutput

PROMPT, ROOM, WANTED, STEPS = 20, 32, 50, 60


def one_step(scheduler) -> None:
    plan = scheduler.schedule()
    names = list(plan.num_scheduled_tokens)
    scheduler.update_from_output(
        plan,
        ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: index for index, name in enumerate(names)},
            sampled_token_ids=[[11] for _ in names],
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        ),
    )


def main() -> None:
    scheduler = create_scheduler(max_model_len=ROOM)
    # The helper tells the scheduler's config; what the scheduler reads is the model's.
    scheduler.max_model_len = ROOM
    (request,) = create_requests(num_requests=1, num_tokens=PROMPT, max_tokens=WANTED)
    request.sampling_params.min_tokens = WANTED
    scheduler.add_request(request)
    for _ in range(STEPS):
        one_step(scheduler)
        if not scheduler.running:
            break
    print(request.status.name, request.num_tokens, request.num_computed_tokens)


if __name__ == "__main__":
    main()
