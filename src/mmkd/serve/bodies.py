"""The body of a request: JSON, a form, or the picture itself. Nothing of it is written to a file."""

import base64
import binascii
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from mmkd.errors import ConfigError
from mmkd.serve.engine.limits import INVALID, MB, TOO_LARGE, UNREADABLE, Limits, RequestError
from mmkd.validation import parse

T = TypeVar("T", bound=BaseModel)
SEE_DOCS = "see /docs"
IMAGE = "image"
FORMS = "multipart/form-data"
MOST_FIELDS = 2_000


@dataclass(frozen=True)
class Body:
    """What came: the values beside the pictures, and the pictures as encoded files."""

    values: dict[str, Any]
    pictures: list[bytes]

    def asked(self, kind: type[T], where: str) -> T:
        """The values as a request. Raises RequestError that lists every problem."""
        try:
            return parse(kind, self.values, where)
        except ConfigError as error:
            raise RequestError(INVALID, str(error), f"a request to {where} as described", SEE_DOCS) from None


async def form_of(request: Request, limits: Limits) -> Body:
    """Of a form: files are pictures, everything else is a value; what stands there several times is a list."""
    parser = MultiPartParser(
        request.headers,
        _chunks(request),
        max_files=limits.pictures,
        max_fields=MOST_FIELDS,
        max_part_size=int(limits.body_mb * MB),
    )
    parser.spool_max_size = int(2 * limits.body_mb * MB)  # more than a body may have: it stays in memory
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        found = f"a form that cannot be read ({getattr(error, 'message', error)})"
        raise RequestError(INVALID, found, f"{FORMS} with its boundary", "let the client library write it") from None
    values: dict[str, list[str]] = {}
    pictures = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            _only_images(name)
            pictures.append(await value.read())
            await value.close()
        else:
            values.setdefault(name, []).append(value)
    return Body(_single(values), pictures)


def body_of(data: bytes, content_type: str, query: list[tuple[str, str]]) -> Body:
    """Of JSON, or of a picture whose values stand in the address."""
    if content_type == "application/json" or content_type.endswith("+json"):
        return _json(data)
    values: dict[str, list[str]] = {}
    for name, value in query:
        values.setdefault(name, []).append(value)
    return Body(_single(values), [data] if data else [])


def content_type(request: Request) -> str:
    return str(request.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def _chunks(request: Request) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        yield chunk


def _json(data: bytes) -> Body:
    try:
        values = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one of the first
        found = f"a body that is no JSON ({error})"
        raise RequestError(INVALID, found[:300], "a JSON object", SEE_DOCS) from None
    if not isinstance(values, dict):
        raise RequestError(INVALID, f"JSON of the kind {type(values).__name__}", "an object", SEE_DOCS)
    images = values.pop(IMAGE, None) or []
    listed = [images] if isinstance(images, str) else images
    if not isinstance(listed, list):
        raise RequestError(INVALID, f"{IMAGE} of the kind {type(images).__name__}", "base64, or a list of it", SEE_DOCS)
    return Body(values, [_decoded(text) for text in listed])


def _decoded(text: Any) -> bytes:
    """Base64, bare or as a data URL. A URL of another kind is refused: the service fetches nothing."""
    cure = "encode the file's bytes, or send the file itself"
    if not isinstance(text, str):
        raise RequestError(INVALID, f"an {IMAGE} of the kind {type(text).__name__}", "base64 or a data URL", cure)
    head, comma, rest = text.partition(",")
    if comma and not (head.startswith("data:") and head.endswith(";base64")):
        raise RequestError(INVALID, f"an {IMAGE} that begins {head[:40]!r}", "data:...;base64,...", cure)
    try:
        return base64.b64decode(rest if comma else text, validate=True)
    except (binascii.Error, ValueError) as error:
        found = f"an {IMAGE} that begins {text[:40]!r} and is no base64 ({error})"
        raise RequestError(INVALID, found, "base64 or a data URL, no address to fetch", cure) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _only_images(name: str) -> None:
    if name != IMAGE:
        raise RequestError(INVALID, f"a file in the field {name!r}", f"files in the field {IMAGE!r}", SEE_DOCS)


def _single(values: dict[str, list[str]]) -> dict[str, Any]:
    return {name: own[0] if len(own) == 1 else own for name, own in values.items()}


def one_picture(pictures: list[bytes]) -> bytes:
    """Raises RequestError for none, or several."""
    if len(pictures) == 1:
        return pictures[0]
    status = TOO_LARGE if pictures else UNREADABLE
    raise RequestError(status, f"{len(pictures)} pictures", "one", "send one picture a request")
