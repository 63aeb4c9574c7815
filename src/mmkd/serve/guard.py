"""Around every request: who asks, how much, how long; an answer with a status in any case."""

import asyncio
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from mmkd.output import is_verbose
from mmkd.serve.access import LOOPBACK, Access
from mmkd.serve.engine.limits import (
    BUSY,
    FAULT,
    INVALID,
    MB,
    RETRY_AFTER_S,
    TOO_LARGE,
    UNAUTHORISED,
    Limits,
    RequestError,
)
from mmkd.serve.engine.service import late
from mmkd.serve.metrics import Metrics

ASKED = ("/v1/embeddings", "/classify", "/search")
"""What models compute: limited in time, number and rate."""
OPEN = ("/health",)  # without a key
PAGES = ("/", "/docs", "/openapi.json", "/metrics", "/mcp", "/page")
DRAINED_S, DRAINED_MB = 5.0, 256  # of a body that is refused: so that the client reads the answer
CLIENT_GONE = 499  # as nginx counts it: nobody is there to read an answer
REQUEST_ID = "x-request-id"
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]


@dataclass
class _Exchange:
    """One request and what became of it."""

    scope: dict[str, Any]
    send: Send
    id: str = field(default_factory=lambda: uuid4().hex)
    begun: float = field(default_factory=time.monotonic)
    status: int = 0
    received: int = 0
    is_received: bool = False

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    async def pass_on(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], (REQUEST_ID.encode(), self.id.encode())]}
        await self.send(message)


class Guard:
    """ASGI middleware. hosts: names by which browsers may ask; none means any."""

    def __init__(
        self, app: Any, access: Access, limits: Limits, metrics: Metrics, log: Callable[[str], None], hosts: list[str]
    ) -> None:
        self._app, self._access, self._limits, self._metrics, self._log = app, access, limits, metrics, log
        self._hosts = hosts
        self._asked, self._bytes = 0, 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            await self._answered(exchange, receive)
        except RequestError as error:
            await self._refuse(exchange, receive, error)
        except ClientDisconnect:
            exchange.status = CLIENT_GONE
        except Exception:
            await self._refuse(exchange, receive, fault(exchange.id))
        finally:
            self._bytes -= exchange.received
            self._told(exchange)

    async def _answered(self, exchange: _Exchange, receive: Receive) -> None:
        headers = Headers(scope=exchange.scope)
        self._admit(exchange, headers)
        limited = self._limited(exchange, receive)
        if exchange.path not in ASKED:
            await self._app(exchange.scope, limited, exchange.pass_on)
            return
        self._asked += 1
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                await self._app(exchange.scope, limited, exchange.pass_on)
        except TimeoutError:
            raise late(self._limits) from None
        finally:
            self._asked -= 1

    def _admit(self, exchange: _Exchange, headers: Headers) -> None:
        """Raises RequestError for a request that is not begun."""
        if exchange.path in OPEN:
            return
        self._check_origin(headers)
        address = (exchange.scope.get("client") or ("", 0))[0]
        client = self._access.client(headers, address)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._limits.body_mb * MB:
            raise self._too_large(f"a body of {int(length):,} bytes")
        if exchange.path in ASKED:
            self._access.check_rate(client)
            if self._asked >= self._limits.queue:
                found = f"{self._asked} requests are worked on"
                raise RequestError(BUSY, found, f"at most {self._limits.queue}", "try again later", RETRY_AFTER_S)

    def _check_origin(self, headers: Headers) -> None:
        """Raises RequestError for what a page of another host asks, also where its name leads to this address."""
        for name in ("host", "origin"):
            value = headers.get(name, "")
            host = urlsplit(value if "//" in value else f"//{value}").hostname
            if self._hosts and (value or name == "host") and host not in self._hosts:
                expected = f"one of {', '.join(self._hosts)}"
                raise RequestError(INVALID, f"the header {name} {value[:80]!r}", expected, "ask by its own name")

    def _limited(self, exchange: _Exchange, receive: Receive) -> Receive:
        async def counted() -> Any:
            message = await receive()
            size = len(message.get("body", b""))
            exchange.received += size
            exchange.is_received = not message.get("more_body", False)
            self._bytes += size
            if exchange.received > self._limits.body_mb * MB:
                raise self._too_large(f"a body of more than {exchange.received:,} bytes")
            if self._bytes > self._limits.bodies_mb * MB:
                found = f"bodies of {self._bytes:,} bytes at once"
                expected = f"at most {self._limits.bodies_mb:g} MB"
                raise RequestError(BUSY, found, expected, "try again later", RETRY_AFTER_S)
            return message

        return counted

    def _too_large(self, found: str) -> RequestError:
        expected = f"at most {self._limits.body_mb:g} MB"
        return RequestError(TOO_LARGE, found, expected, "send a smaller picture or fewer of them")

    async def _refuse(self, exchange: _Exchange, receive: Receive, error: RequestError) -> None:
        if exchange.status:  # the answer has begun; the connection breaks, which the client sees
            raise error
        if not exchange.is_received:
            await _drained(receive)
        await answer(error, exchange.id, browser=exchange.path not in ASKED)(exchange.scope, receive, exchange.pass_on)

    def _told(self, exchange: _Exchange) -> None:
        seconds = time.monotonic() - exchange.begun
        known = exchange.path if exchange.path in (*ASKED, *OPEN, *PAGES) else "other"
        self._metrics.count(known, exchange.status, seconds)
        method = str(exchange.scope["method"])[:10]
        self._log(f"{exchange.id} {method} {known} {exchange.status} {1000 * seconds:.1f} ms {exchange.received} bytes")


def answer(error: RequestError, request_id: str, browser: bool = False) -> Response:
    """The one shape of all errors. browser: ask for the key in a window."""
    headers = {}
    if error.retry_after_s:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.status == UNAUTHORISED:
        headers["WWW-Authenticate"] = 'Basic realm="mmkd: the key as password"' if browser else "Bearer"
    told = {
        "message": str(error),
        "type": "server_error" if error.status >= FAULT else "invalid_request_error",
        "code": error.status,
        "found": error.found,
        "expected": error.expected,
        "cure": error.cure,
        "request_id": request_id,
    }
    return JSONResponse({"error": told}, error.status, headers)


def fault(request_id: str) -> RequestError:
    """Of a defect of ours: what happened stands in the log of the service, with `-v` whole."""
    if is_verbose():
        traceback.print_exc()
    else:
        kind, value, _ = sys.exc_info()
        print(f"mmkd: {request_id}: {kind.__name__ if kind else ''}: {value}", file=sys.stderr, flush=True)
    cure = f"tell whoever runs the service the request id {request_id}"
    return RequestError(FAULT, "a fault of the service", "an answer", cure)


def hosts_of(host: str) -> list[str]:
    """Of a service on loopback only its own names; elsewhere any, since a proxy may have given it another."""
    return list(LOOPBACK) if host in LOOPBACK else []


async def _drained(receive: Receive) -> None:
    """Read the rest of a body and forget it."""
    left = DRAINED_MB * MB
    try:
        async with asyncio.timeout(DRAINED_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
