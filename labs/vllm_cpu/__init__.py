r"""Real vLLM 0.22.1 on a CPU: the environment, the runs that the labs show, and how they are kept.

The engine of this book and real vLLM cannot live in one environment, because their torch versions
differ. So vLLM has one of its own (`nox -s vllm_cpu`), and what the labs need from it is
*captured*: the log as it was printed and a trace of every step, with a statement of where they
come from.

| Module | What it knows |
|---|---|
| `environment` | the variables under which vLLM runs here, and why each one is set |
| `scenes` | which runs are captured: their requests and their settings |
| `step_recorder` | how a step is recorded without the engine knowing |
| `run_scene` | one scene in the process that vLLM thinks it owns |
| `scrub` | what is taken out of a log before it is kept |
| `source_map` | which function a log line's file and line number stand for |
| `capture` | the command that runs the scenes and writes the files |
| `wheel` | what the installed wheel changed in vLLM's Python |
| `launch` | `vllm serve` and `vllm bench` for this wheel |

Only `run_scene`, `step_recorder` and `launch` need vLLM, and none imports it before it is asked to.
"""
