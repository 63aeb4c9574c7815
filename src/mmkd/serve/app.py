"""The service over HTTP."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from mcp.server.transport_security import TransportSecuritySettings
from starlette.exceptions import HTTPException

from mmkd import __version__
from mmkd.archive.archive import Hit
from mmkd.serve.access import Access
from mmkd.serve.asked import Classify, Embeddings, Search
from mmkd.serve.bodies import FORMS, Body, body_of, content_type, form_of, one_picture
from mmkd.serve.engine.answers import Answer
from mmkd.serve.engine.limits import INVALID, MB, RequestError
from mmkd.serve.engine.service import PURPOSE, SEE_DOCS, Service
from mmkd.serve.guard import Guard
from mmkd.serve.metrics import Metrics
from mmkd.serve.reference import described, reference_page
from mmkd.serve.tools import make_tools
from mmkd.statistics.metrics import Array


def make_app(
    service: Service,
    page: bool = False,
    keys: Sequence[str] = (),
    hosts: Sequence[str] = (),
    log: Callable[[str], None] = lambda line: None,
) -> FastAPI:
    """page: with the web page at /page. keys: of the clients; none lets anybody ask. hosts: names by which it may be
    asked; none means any. log: gets a line a request, without texts and names of files.
    """
    metrics, handlers = Metrics(service), Handlers(service)
    tools = make_tools(service).streamable_http_app(
        stateless_http=True,
        json_response=True,
        max_request_body_size=int(service.limits.body_mb * MB),
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the guard does it
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(tools.router.lifespan_context(tools))
            yield
        handlers.close()

    app = FastAPI(title="mmkd serve", version=__version__, description=PURPOSE, docs_url=None, redoc_url=None,
                  lifespan=lifespan)  # fmt: skip
    _routes(app, handlers, metrics)
    app.router.routes.extend(tools.routes)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_middleware(Guard, access=Access(keys, service.limits), limits=service.limits, metrics=metrics, log=log,
                       hosts=list(hosts))  # fmt: skip
    if page:
        from mmkd.serve.page.mount import mount_page

        app = mount_page(app, service)
    return app


def _routes(app: FastAPI, handlers: "Handlers", metrics: Metrics) -> None:
    for path, handler, kind in (
        ("/v1/embeddings", handlers.embeddings, Embeddings),
        ("/classify", handlers.classify, Classify),
        ("/search", handlers.search, Search),
    ):
        app.add_api_route(path, handler, methods=["POST"], openapi_extra=described(kind), response_model=None)
    app.add_api_route("/health", handlers.health, methods=["GET"], response_model=None)

    def prometheus() -> Response:
        """Counters in Prometheus's form."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    def docs() -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi()))

    def start() -> RedirectResponse:
        has_page = any(getattr(route, "path", "") == "/page" for route in app.routes)
        return RedirectResponse("/page" if has_page else "/docs")

    app.add_api_route("/metrics", prometheus, methods=["GET"], response_class=Response)
    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False, response_model=None)
    app.add_api_route("/", start, methods=["GET"], include_in_schema=False, response_model=None)


class Handlers:
    """From a request to the service and back. What takes time happens in threads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._threads = ThreadPoolExecutor(service.limits.threads, "request")

    async def embeddings(self, request: Request) -> Response:
        """Unit vectors of texts and pictures, in OpenAI's form."""
        return await self._answered(request, self._embeddings)

    async def classify(self, request: Request) -> Response:
        """Which of the classes a picture shows, with probabilities; a model may abstain."""
        return await self._answered(request, self._classify)

    async def search(self, request: Request) -> Response:
        """The pictures of the archive that are most like a text or a picture."""
        return await self._answered(request, self._search)

    async def health(self) -> Response:
        """What is served. The only address that needs no key."""
        facts = [
            {"name": one.name, "role": one.role, "dim": one.dim, "backend": one.backend, "digest": one.digest}
            for one in self._service.models()
        ]
        return JSONResponse({"status": "ok", "version": __version__, "models": facts, "notice": PURPOSE})

    def close(self) -> None:
        self._threads.shutdown()
        self._service.close()

    async def _answered(self, request: Request, work: Callable[[Body], dict[str, Any]]) -> Response:
        kind = content_type(request)
        form = await form_of(request, self._service.limits) if kind == FORMS else None
        data = b"" if form else await request.body()

        def told() -> Response:
            return JSONResponse(work(form or body_of(data, kind, request.query_params.multi_items())))

        return await asyncio.get_running_loop().run_in_executor(self._threads, told)

    def _embeddings(self, body: Body) -> dict[str, Any]:
        asked = body.asked(Embeddings, "/v1/embeddings")
        service = self._service
        vector_ND = service.embed(body.pictures, asked.input, asked.model)
        if asked.dimensions not in (None, vector_ND.shape[1]):
            found = f"dimensions {asked.dimensions}"
            raise RequestError(INVALID, found, f"{vector_ND.shape[1]}", "leave it out: vectors are not cut")
        tokens = service.count_tokens(asked.input, asked.model)
        return {
            "object": "list",
            "model": asked.model or service.models()[0].name,
            "data": [
                {"object": "embedding", "index": index, "embedding": _written(vector_D, asked.encoding_format)}
                for index, vector_D in enumerate(vector_ND)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "pictures": len(body.pictures)},
        }

    def _classify(self, body: Body) -> dict[str, Any]:
        asked = body.asked(Classify, "/classify")
        names = [one.name for one in self._service.models()] if asked.models == ["all"] else asked.models
        answers = self._service.classify(one_picture(body.pictures), asked.classes, names, asked.threshold)
        return {"answers": [_answer(one, asked.top) for one in answers], "notice": PURPOSE}

    def _search(self, body: Body) -> dict[str, Any]:
        asked = body.asked(Search, "/search")
        image = one_picture(body.pictures) if body.pictures else None
        hits = self._service.search(asked.text, image, asked.k, asked.where, asked.not_same_patient, asked.by)
        return {"hits": [_hit(one) for one in hits], "notice": PURPOSE}


def _written(vector_D: Array, encoding: str) -> Any:
    plain_D = np.asarray(vector_D, "<f4")
    return base64.b64encode(plain_D.tobytes()).decode() if encoding == "base64" else plain_D.tolist()


def _answer(one: Answer, top: int | None) -> dict[str, Any]:
    return {**asdict(one), "abstained": one.label is None, "scores": [asdict(score) for score in one.scores[:top]]}


def _hit(one: Hit) -> dict[str, Any]:
    thumbnail = f"data:image/jpeg;base64,{base64.b64encode(one.thumbnail).decode()}" if one.thumbnail else ""
    return {**asdict(one), "thumbnail": thumbnail}


async def _not_routed(request: Request, error: HTTPException) -> Response:
    found = f"{request.method[:10]} {request.url.path[:80]} ({error.detail})"
    raise RequestError(error.status_code, found, "an address and a method of this service", SEE_DOCS)
