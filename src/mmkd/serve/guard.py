"""Around every request: who asks, how much, how long; an answer with a status in any case."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from mmkd.serve.access import LOOPBACK, Access
from mmkd.serve.engine.limits import (
    BUSY,
    INVALID,
    MB,
    RETRY_AFTER_S,
    SLOW,
    TOO_LARGE,
    Limits,
    RequestError,
)
from mmkd.serve.engine.service import late
from mmkd.serve.metrics import Metrics
from mmkd.serve.refusals import answer, drained, fault

ASKED = ("/v1/embeddings", "/classify", "/search")
"""What models compute: limited in time, number and rate."""
OPEN = ("/health",)  # without a key
PAGES = ("/", "/docs", "/openapi.json", "/metrics", "/mcp", "/page")
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
            raise (late(self._limits) if exchange.is_received else self._slow(exchange)) from None
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
            message = await (receive() if exchange.is_received else self._in_time(exchange, receive))
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

    async def _in_time(self, exchange: _Exchange, receive: Receive) -> Any:
        """The next part of a body. Raises RequestError where the whole of it takes too long."""
        left = exchange.begun + self._limits.timeout_s - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)):
                return await receive()
        except TimeoutError:
            raise self._slow(exchange) from None

    def _slow(self, exchange: _Exchange) -> RequestError:
        found = f"{exchange.received:,} bytes of a body within {self._limits.timeout_s:g} s"
        return RequestError(SLOW, found, "all of it", "send it faster, or less of it")

    def _too_large(self, found: str) -> RequestError:
        expected = f"at most {self._limits.body_mb:g} MB"
        return RequestError(TOO_LARGE, found, expected, "send a smaller picture or fewer of them")

    async def _refuse(self, exchange: _Exchange, receive: Receive, error: RequestError) -> None:
        if exchange.status:  # the answer has begun; the connection breaks, which the client sees
            raise error
        if not exchange.is_received and error.status != SLOW:
            await drained(receive)
        await answer(error, exchange.id, browser=exchange.path not in ASKED)(exchange.scope, receive, exchange.pass_on)

    def _told(self, exchange: _Exchange) -> None:
        seconds = time.monotonic() - exchange.begun
        known = exchange.path if exchange.path in (*ASKED, *OPEN, *PAGES) else "other"
        self._metrics.count(known, exchange.status, seconds)
        method = str(exchange.scope["method"])[:10]
        self._log(f"{exchange.id} {method} {known} {exchange.status} {1000 * seconds:.1f} ms {exchange.received} bytes")


def hosts_of(host: str) -> list[str]:
    """Of a service on loopback only its own names; elsewhere any, since a proxy may have given it another."""
    return list(LOOPBACK) if host in LOOPBACK else []
