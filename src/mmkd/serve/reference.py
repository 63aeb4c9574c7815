"""What the service says of itself: the OpenAPI description, and a page of it without scripts."""

from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader
from pydantic import BaseModel

from mmkd.report.render import environment
from mmkd.serve.asked import MANY, Embeddings

IMAGE = {"type": "string", "description": MANY}
PICTURES = ("image/jpeg", "image/png", "application/dicom", "application/octet-stream")


def described(kind: type[BaseModel]) -> dict[str, Any]:
    """The body of a request in OpenAPI's words, and its query parameters, which go with a bare picture."""
    schema = kind.model_json_schema()
    own = dict(schema["properties"])
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    texts = {"image": {"oneOf": [IMAGE, {"type": "array", "items": IMAGE}], "description": MANY}}
    files = {"image": {"type": "array", "items": file} if kind is Embeddings else file}
    content = {
        "application/json": {"schema": {**schema, "properties": own | texts}},
        "multipart/form-data": {"schema": {**schema, "properties": own | files}},
        **{name: {"schema": file} for name in PICTURES},
    }
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": field, "description": field.get("description", "")}
        for name, field in own.items()
    ]
    return {"requestBody": {"content": content}, "parameters": parameters, "responses": RESPONSES}


ERROR = {
    "description": "Not answered: what was found, what was expected, what to do.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "error": {
                        "type": "object",
                        "properties": {
                            name: {"type": "integer" if name == "code" else "string"}
                            for name in ("message", "type", "code", "found", "expected", "cure", "request_id")
                        },
                    }
                },
            }
        }
    },
}
RESPONSES = {"200": {"description": "The answer."}} | {
    str(status): {**ERROR, "description": meaning}
    for status, meaning in {
        400: "Something of the request is wrong.",
        401: "No valid API key.",
        404: "No such model or address, or no archive.",
        408: "It came too slowly.",
        413: "Too large, or too many.",
        415: "Not a picture that is read.",
        429: "Too many requests of this client; see Retry-After.",
        503: "Too much waits; see Retry-After.",
        504: "It took too long.",
    }.items()
}


def reference_page(openapi: dict[str, Any]) -> str:
    """The description as a page."""
    operations = [
        (path, method.upper(), operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    return _environment().get_template("reference.html").render(title=openapi["info"]["title"], openapi=openapi,
                                                               operations=operations)  # fmt: skip


@cache
def _environment() -> Environment:
    """With the base and the style of the reports."""
    return environment().overlay(loader=ChoiceLoader([PackageLoader("mmkd.serve"), PackageLoader("mmkd.report")]))
