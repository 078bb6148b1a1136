r"""What is checked before anybody reads the request?

Its size, its type, its key. None of them needs a parser, and each guards against a way to make
the server work for nothing: a body without an end, a form post from a web page (which a browser
sends across origins without asking, as long as the type is not JSON), a stranger.

The body is read here, up to the limit and within a time limit, and handed on in one piece: behind
this point nobody waits for a client that sends one byte a second.

A key is compared by its hash and in constant time, so that the time of a refusal tells nothing
about how much of a guess was right
({up}`vllm/entrypoints/openai/server_utils.py#AuthenticationMiddleware.verify_token`). It guards
every route except those that tell a probe whether the server is well ({py:data}`OPEN_ROUTES`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mini_vllm.entrypoints.openai.errors import ApiError, error_response

#: Routes that need no key: probes and scrapers have none.
OPEN_ROUTES = frozenset({"/health", "/ping", "/version", "/metrics"})
#: Routes that take a body. Elsewhere nobody reads one, and nobody minds it.
BODY_ROUTES = frozenset({"/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"})
#: Seconds in which the whole body must have arrived.
BODY_TIMEOUT = 30.0


class EdgeMiddleware:
    r"""Refuses what is too big, not JSON, too slow, or without the key.

    `max_body_bytes` is the longest body in bytes. Without `api_keys` everyone may come.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, api_keys: Sequence[str] = ()) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.hashes = [_hash(key) for key in api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on; or answer with an error."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check_key(scope["path"], headers)
            if scope["method"] == "POST" and scope["path"] in BODY_ROUTES:
                receive = await self._with_whole_body(headers, receive)
        except ApiError as error:
            await error_response(error)(scope, receive, send)
        except _ClientGone:
            return
        else:
            await self.app(scope, receive, send)

    def _check_key(self, path: str, headers: Headers) -> None:
        if not self.hashes or path in OPEN_ROUTES:
            return
        scheme, _, key = headers.get("authorization", "").partition(" ")
        offered = _hash(key.strip())
        # Every key is compared, whichever fits.
        fits = [secrets.compare_digest(offered, one) for one in self.hashes]
        if scheme.lower() != "bearer" or not any(fits):
            raise ApiError(
                401,
                "this server wants an API key: Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _with_whole_body(self, headers: Headers, receive: Receive) -> Receive:
        """Read the body, and return a `receive` that gives it in one piece."""
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise ApiError(415, f"the body must be application/json, not {media_type or 'untyped'}")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.max_body_bytes:
            raise self._too_big()
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _ClientGone
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self.max_body_bytes:
                        raise self._too_big()
        except TimeoutError:
            raise ApiError(408, f"the body did not arrive within {BODY_TIMEOUT:g} s") from None
        _check_text(body)
        pending: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        return replay

    def _too_big(self) -> ApiError:
        # The rest of the body is not read, so nothing more can come over this connection.
        return ApiError(
            413,
            f"the body is longer than {self.max_body_bytes} bytes",
            headers={"Connection": "close"},
        )


def _check_text(body: bytearray) -> None:
    r"""Refuse half a character: JSON can escape one (`"\ud800"`), and no text can hold it."""
    if b"\\ud" not in body.lower():
        return
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ApiError(400, f"the body has half a character: {error.reason}") from None
    except (ValueError, RecursionError):
        # Not JSON at all, or deeper than anything sensible: for the parser behind this to say.
        return


class _ClientGone(Exception):
    """The client went away within its own request."""


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
