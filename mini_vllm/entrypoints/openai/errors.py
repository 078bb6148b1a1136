r"""What does a client get that asked for the wrong thing?

One shape, whatever went wrong and wherever: `{"error": {"message", "type", "param", "code"}}`. The
client libraries look there to choose an exception, so an error page in HTML, a bare string, or a
list of the validator's findings is an error that nobody's program can read. `message` names the
value and the limit, `param` the parameter at fault or `null`, and `code` repeats the HTTP status,
as upstream's does ({up}`vllm/entrypoints/openai/engine/protocol.py#ErrorInfo`).

Whose fault an error is decides its status: 4xx is the client's and the same request will fail
again, 429 and 503 are the server's moment and carry `Retry-After`, 500 is a bug of ours. The
client reads no more than that there is one: the traceback goes to the server's log.

Upstream: {up}`vllm/entrypoints/utils.py#create_error_response`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from mini_vllm.errors import EngineDeadError, RequestError

logger = logging.getLogger("mini_vllm.server")

#: Longest message that is sent: it may quote what the client wrote.
MAX_MESSAGE = 1000

#: Every status that the server answers with, other than 200: its type, and when.
STATUSES: dict[int, tuple[str, str]] = {
    400: ("BadRequestError", "a parameter is unknown, not supported, or out of range"),
    401: ("AuthenticationError", "the server has an API key, and this request had not"),
    404: ("NotFoundError", "no such model, or no such route"),
    405: ("MethodNotAllowedError", "the route exists, with another method"),
    408: ("RequestTimeoutError", "the body did not arrive in time"),
    413: ("PayloadTooLargeError", "the body is longer than `--max-body-bytes`"),
    415: ("UnsupportedMediaTypeError", "the body is not `application/json`"),
    429: ("OverloadedError", "the queue is full; `Retry-After` says when to try again"),
    500: ("InternalServerError", "a bug of the server; its log says more"),
    503: ("ServiceUnavailableError", "the server is shutting down, or its engine has died"),
}


class ErrorInfo(BaseModel):
    """What went wrong: for people, by kind, by parameter, by status."""

    message: str
    type: str
    param: str | None
    code: int


class ErrorResponse(BaseModel):
    """The body of every answer that is an error, and the event that ends a broken stream."""

    error: ErrorInfo


class ApiError(Exception):
    """An answer that is an error: raise it anywhere below a route."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.headers = dict(headers or {})


def as_api_error(error: BaseException) -> ApiError:
    r"""Whatever was raised, as the error that the client shall read.

    What is nobody's expected failure becomes a 500 without details, and goes to the log with them.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestError):
        return ApiError(400, str(error), param=error.parameter)
    if isinstance(error, RequestValidationError):
        return _as_refusal(error.errors())
    if isinstance(error, EngineDeadError):
        return ApiError(503, "the engine has died; this server is about to exit")
    if isinstance(error, HTTPException):
        headers = error.headers or {}
        return ApiError(error.status_code, str(error.detail), headers=headers)
    logger.error("unexpected error", exc_info=error)
    return ApiError(500, "internal server error")


def error_body(error: ApiError) -> ErrorResponse:
    """The body of an error, short enough to send, and text that can be encoded."""
    kind = STATUSES[error.status][0] if error.status in STATUSES else _phrase(error.status)
    param = None if error.param is None else _printable(error.param)
    return ErrorResponse(
        error=ErrorInfo(
            message=_printable(error.message), type=kind, param=param, code=error.status
        )
    )


def error_response(error: BaseException) -> JSONResponse:
    """An error as a whole answer."""
    api_error = as_api_error(error)
    body = error_body(api_error).model_dump()
    return JSONResponse(body, status_code=api_error.status, headers=api_error.headers)


def add_error_handlers(app: FastAPI) -> None:
    """Let every error of an application take the one shape."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        return error_response(error)

    for kind in (ApiError, RequestError, RequestValidationError, EngineDeadError, HTTPException):
        app.add_exception_handler(kind, handle)
    app.add_exception_handler(Exception, handle)


def _as_refusal(findings: Sequence[Any]) -> ApiError:
    """What the validator found, about the first parameter that it found fault with."""
    named = [(_parameter(finding["loc"]), finding) for finding in findings]
    param = named[0][0] if named else None
    reasons: list[str] = []
    for name, finding in named:
        cause = finding.get("ctx", {}).get("error")
        if isinstance(cause, RequestError):
            return ApiError(400, str(cause), param=cause.parameter or name)
        reason = str(finding["msg"])
        if cause is not None and finding["type"] == "json_invalid":
            reason = f"{reason}: {cause}"
        if name == param and reason not in reasons:
            reasons.append(reason)
    where = f"{param}: " if param else ""
    return ApiError(400, where + "; or ".join(reasons), param=param)


def _parameter(location: Sequence[Any]) -> str | None:
    """The parameter in a finding's place: `("body", "stop", 0)` is about `stop`."""
    names = [part for part in location[1:2] if isinstance(part, str)]
    return names[0] if names else None


def _phrase(status: int) -> str:
    return "".join(HTTPStatus(status).phrase.split()) + "Error"


def _printable(text: str) -> str:
    """Cut to a length that is worth sending; what is no text at all becomes question marks."""
    if len(text) > MAX_MESSAGE:
        text = text[:MAX_MESSAGE] + "…"
    return text.encode("utf-8", "replace").decode()
