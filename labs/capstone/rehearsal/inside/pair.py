r"""The second defect, on the pin's own input thread: which of three requests arrive in the engine?

`pair.py FOUND VLLM VERSION`. The thread is the real one, with its sockets; what it would hand its
requests to is left away. Between two requests that are well sits one whose `max_tokens` the
front-end has filled in, below its `min_tokens`, after the two had been compared.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import importing

ROOM, WANTED = 12, 50


def requests() -> list[Any]:
    r"""Well, a pair that cannot be kept, well."""
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine import EngineCoreRequest

    made = []
    for name, min_tokens in (("before", 0), ("the pair", WANTED), ("after", 0)):
        # Not compared while max_tokens is unset; the front-end fills it in later.
        params = SamplingParams(max_tokens=None, min_tokens=min_tokens)
        params.max_tokens = ROOM
        made.append(
            EngineCoreRequest(
                request_id=name,
                prompt_token_ids=[1] * 20,
                mm_features=None,
                sampling_params=params,
                pooling_params=None,
                arrival_time=0.0,
                lora_request=None,
                cache_salt=None,
                data_parallel_rank=None,
            )
        )
    return made


def core() -> Any:
    r"""As much of an engine core as its input thread reads."""
    return SimpleNamespace(
        tensor_ipc_receiver=None,
        vllm_config=SimpleNamespace(
            model_config=SimpleNamespace(max_model_len=32, dtype="torch.float32"),
            cache_config=SimpleNamespace(num_gpu_blocks=8),
        ),
        frontend_stats_publish_address=None,
        preprocess_add_request=lambda request: request,
        input_queue=queue.Queue(),
        aborts_queue=queue.Queue(),
    )


def _arrives(arrivals: queue.Queue[Any], thread: threading.Thread) -> bool:
    """Wait for a request, for as long as there is a thread that could bring it."""
    for _ in range(400):
        if not arrivals.empty():
            arrivals.get()
            return True
        if not thread.is_alive():
            break
        time.sleep(0.05)
    return False


def main() -> int:
    found, vllm, version = sys.argv[1:]
    importing.use(Path(vllm), version)
    import zmq
    from vllm.v1.engine import EngineCoreRequestType
    from vllm.v1.engine.core import EngineCoreProc
    from vllm.v1.serial_utils import MsgpackEncoder

    raised: list[str] = []
    threading.excepthook = lambda about: raised.append(
        f"{about.exc_type.__name__}: {about.exc_value}"
    )
    engine, encoder = core(), MsgpackEncoder()
    with tempfile.TemporaryDirectory() as scratch, zmq.Context() as context:
        address = f"ipc://{scratch}/input"
        front = context.socket(zmq.ROUTER)
        front.bind(address)
        thread = threading.Thread(
            target=EngineCoreProc.process_input_sockets,
            args=(engine, [address], None, b"\0\0", threading.Event()),
            daemon=True,
        )
        thread.start()
        identity, *_ = front.recv_multipart()
        rows = []
        for request in requests():
            kind = EngineCoreRequestType.ADD.value
            front.send_multipart([identity, kind, *encoder.encode(request)])
            arrived = _arrives(engine.input_queue, thread)
            rows.append(
                {"request": request.request_id, "arrived": arrived, "thread": thread.is_alive()}
            )
        front.close(linger=0)
    importing.report(found, rows=rows, raised=raised)
    os._exit(0)  # a thread that is well would wait for ever


if __name__ == "__main__":
    sys.exit(main())
