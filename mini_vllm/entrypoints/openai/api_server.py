r"""Which routes are there, and what is behind each?

{py:func}`build_app` puts the parts together: the routes, the edge before them, and one shape for
every error. It takes an engine and does not make one, so that a test can put a scripted engine
behind the real routes.

Each route is a few lines, on purpose. What may be wrong with a request was checked by its type
before the first of them; what goes wrong below is raised, and takes its shape in
{py:mod}`~mini_vllm.entrypoints.openai.errors`.

The OpenAPI document at `/openapi.json` is part of the interface: a test generates requests from it,
right ones and wrong ones, and holds every answer against what it says. There is no page that shows
it (`/docs`), since that would load its scripts from somebody else's server.

Upstream: {up}`vllm/entrypoints/openai/api_server.py#build_app`.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from mini_vllm import __version__
from mini_vllm.entrypoints.openai import tokenization
from mini_vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
    ChatCompletionResponse,
    ChatCompletionStreamResponse,
)
from mini_vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from mini_vllm.entrypoints.openai.completion.protocol import (
    CompletionRequest,
    CompletionResponse,
    CompletionStreamResponse,
)
from mini_vllm.entrypoints.openai.completion.serving import OpenAIServingCompletion
from mini_vllm.entrypoints.openai.edge import EdgeMiddleware
from mini_vllm.entrypoints.openai.errors import STATUSES, ErrorResponse, add_error_handlers
from mini_vllm.entrypoints.openai.metrics import Metrics
from mini_vllm.entrypoints.openai.protocol import ModelCard, ModelList
from mini_vllm.entrypoints.openai.serving import Serving
from mini_vllm.entrypoints.openai.streaming import ClientGone
from mini_vllm.errors import EngineDeadError

#: Bytes of the longest body: a prompt of a hundred thousand tokens, as text, fits several times.
DEFAULT_MAX_BODY_BYTES = 8 * 2**20


_COMPONENTS = "#/components/schemas/{model}"


class Version(BaseModel):
    """The version of this server."""

    version: str


class Load(BaseModel):
    """How many answers are running or waiting."""

    server_load: int


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its published description."""
    return {s: {"model": ErrorResponse, "description": STATUSES[s][1]} for s in statuses}


def streamed(chunk: type[BaseModel]) -> dict[str, Any]:
    """The 200 of a route that can also stream, for its published description."""
    data: list[dict[str, Any]] = [{"const": "[DONE]"}]
    for kind in (chunk, ErrorResponse):
        content = {"$ref": _COMPONENTS.format(model=kind.__name__)}
        data.append(
            {"type": "string", "contentMediaType": "application/json", "contentSchema": content}
        )
    event = {"type": "object", "required": ["data"], "properties": {"data": {"anyOf": data}}}
    return {
        "description": "the whole answer, or with `stream` its events",
        "content": {"text/event-stream": {"schema": event}},
    }


def build_app(
    serving: Serving,
    *,
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
    api_keys: tuple[str, ...] = (),
) -> FastAPI:
    r"""The application: every route over one engine, whose steps are counted from here on."""
    metrics = Metrics(serving)
    app = FastAPI(
        title="mini_vllm",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.serving = serving
    add_error_handlers(app)
    app.add_exception_handler(ClientGone, _nobody_listens)
    app.add_middleware(EdgeMiddleware, max_body_bytes=max_body_bytes, api_keys=api_keys)
    _add_generating_routes(app, serving)
    _add_tokenizing_routes(app, serving)
    _add_telling_routes(app, serving, metrics)
    app.openapi = lambda: _published(app)  # type: ignore[method-assign]
    return app


async def _nobody_listens(request: Request, error: Exception) -> Response:
    # The client has gone; the status, nginx's, is for the log.
    return Response(status_code=499)


def _add_generating_routes(app: FastAPI, serving: Serving) -> None:
    completion, chat = OpenAIServingCompletion(serving), OpenAIServingChat(serving)
    errors = documented(400, 401, 404, 408, 413, 415, 429, 500, 503)

    @app.post(
        "/v1/completions",
        response_model=CompletionResponse,
        responses={**errors, 200: streamed(CompletionStreamResponse)},
    )
    async def create_completion(request: CompletionRequest, raw_request: Request) -> Any:
        """Go on with a text."""
        return await completion.create_completion(request, raw_request)

    @app.post(
        "/v1/chat/completions",
        response_model=ChatCompletionResponse,
        responses={**errors, 200: streamed(ChatCompletionStreamResponse)},
    )
    async def create_chat_completion(request: ChatCompletionRequest, raw_request: Request) -> Any:
        """Go on with a conversation."""
        return await chat.create_chat_completion(request, raw_request)


def _add_tokenizing_routes(app: FastAPI, serving: Serving) -> None:
    errors = documented(400, 401, 404, 408, 413, 415, 500)

    @app.post("/tokenize", responses=errors)
    async def tokenize(
        request: tokenization.TokenizeRequest,
    ) -> tokenization.TokenizeResponse:
        """The tokens of a text, or of a conversation."""
        return await tokenization.tokenize(serving, request)

    @app.post("/detokenize", responses=errors)
    async def detokenize(
        request: tokenization.DetokenizeRequest,
    ) -> tokenization.DetokenizeResponse:
        """The text of tokens."""
        return await tokenization.detokenize(serving, request)


def _add_telling_routes(app: FastAPI, serving: Serving, metrics: Metrics) -> None:
    cards = [
        ModelCard(id=name, root=serving.model_path, max_model_len=serving.max_model_len)
        for name in serving.model_names
    ]

    @app.get("/v1/models", responses=documented(401))
    async def list_models() -> ModelList:
        """The names under which the model answers."""
        return ModelList(data=cards)

    @app.get("/v1/models/{model:path}", responses=documented(401, 404))
    async def show_model(model: str) -> ModelCard:
        """One of them."""
        serving.check_model(model)
        return next(card for card in cards if card.id == model)

    async def health() -> Response:
        """200 while the engine lives and requests are taken; 503 afterwards."""
        try:
            await serving.engine.check_health()
        except EngineDeadError:
            return Response(status_code=503)
        return Response(status_code=503 if serving.admission.draining else 200)

    unwell = {503: {"description": STATUSES[503][1]}}
    for path, methods in (("/health", ["GET"]), ("/ping", ["GET", "POST"])):
        for method in methods:
            app.add_api_route(
                path,
                health,
                methods=[method],
                response_class=Response,
                responses=unwell,  # type: ignore[arg-type]
                operation_id=f"{path[1:]}_{method.lower()}",
            )

    @app.get("/version")
    async def show_version() -> Version:
        """The version of this server."""
        return Version(version=__version__)

    @app.get("/load", responses=documented(401))
    async def show_load() -> Load:
        """How many answers are running or waiting."""
        return Load(server_load=serving.admission.open)

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def show_metrics(request: Request) -> Response:
        """What Prometheus reads."""
        text, content_type = await metrics.text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})


def _published(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, without the 422 that FastAPI adds and this server never sends."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        components = schema["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            components.pop(name, None)
        for chunk in (CompletionStreamResponse, ChatCompletionStreamResponse):
            described = chunk.model_json_schema(ref_template=_COMPONENTS)
            components.update(described.pop("$defs", {}))
            components[chunk.__name__] = described
        app.openapi_schema = schema
    return app.openapi_schema
