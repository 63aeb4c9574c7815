"""Connections whose headers do not come: until they are there no request exists that a limit could end."""

import asyncio
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from mmkd.serve.engine.limits import SLOW, Limits, RequestError
from mmkd.serve.refusals import answer


def patient_protocol(limits: Limits) -> Any:
    """uvicorn's protocol, which answers 408 and closes where headers take longer than `headers_s`; as `http` of its
    configuration. Between two requests of a connection uvicorn itself waits, and less long.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class Patient(AutoHTTPProtocol):  # type: ignore[misc]  # its types are not looked at
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._headers = _Patience(self.loop, transport, limits)
            self._headers.expect()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            is_between = self.cycle is None or self.cycle.response_complete
            (self._headers.expect if is_between else self._headers.have)()

        def connection_lost(self, exc: Exception | None) -> None:
            self._headers.have()
            super().connection_lost(exc)

    return Patient


class _Patience:
    """With the headers of one connection: from the first byte that comes after a request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Any, limits: Limits) -> None:
        self._loop, self._transport, self._limits = loop, transport, limits
        self._timer: asyncio.TimerHandle | None = None

    def expect(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._limits.headers_s, self._end)

    def have(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_late_headers(self._limits))
            self._transport.close()


def _late_headers(limits: Limits) -> bytes:
    """The answer, whole."""
    error = RequestError(SLOW, f"no whole headers within {limits.headers_s:g} s", "them at once", "send them faster")
    response = answer(error, uuid4().hex)
    lines = [f"HTTP/1.1 {SLOW} {HTTPStatus(SLOW).phrase}".encode()]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
