"""What a request is told that is not answered."""

import asyncio
import sys
import traceback
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse, Response

from mmkd.output import is_verbose
from mmkd.serve.engine.limits import FAULT, MB, SLOW, UNAUTHORISED, RequestError

DRAINED_S, DRAINED_MB = 5.0, 256  # of a body that is refused: so that the client reads the answer


def answer(error: RequestError, request_id: str, browser: bool = False) -> Response:
    """The one shape of all errors. browser: ask for the key in a window."""
    headers = {}
    if error.retry_after_s:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.status == SLOW:
        headers["Connection"] = "close"
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


async def drained(receive: Callable[[], Any]) -> None:
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
