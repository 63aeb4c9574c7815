"""The service as tools of an assistant, by the Model Context Protocol."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

from mmkd import __version__
from mmkd.errors import MmkdError
from mmkd.folders.paths import read_inside
from mmkd.reasons import BadRecordError
from mmkd.serve.engine.limits import INVALID, RequestError
from mmkd.serve.engine.service import PURPOSE, Service

INSTRUCTIONS = (
    f"{PURPOSE} Tools: classify a picture among named findings, search an archive of pictures by words or by a "
    "picture, embed texts and pictures as vectors, and say which models and data the answers rest on. Repeat to the "
    "user what `basis` and `calibrated` say of the probabilities."
)


def make_tools(service: Service, files: bool = False) -> Any:
    """An MCPServer. files: pictures may be named by their path on this machine; else they come as base64."""
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("mmkd", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")

    def tool(function: Callable[..., dict[str, Any]]) -> None:
        @wraps(function)
        def answered(*args: Any, **options: Any) -> dict[str, Any]:
            try:
                return function(*args, **options)
            except MmkdError as error:
                raise ToolError(str(error)) from None

        server.add_tool(answered)

    def embed(texts: list[str] | None = None, images: list[str] | None = None, model: str = "") -> dict[str, Any]:
        """Unit vectors of pictures, then of texts; their dot products are cosines. images: see `classify`."""
        vectors = service.embed([_picture(one, files) for one in images or ()], texts or (), model)
        return {"vectors": vectors.tolist()}

    def classify(
        image: str, classes: list[str] | None = None, models: list[str] | None = None, threshold: float = 0.0
    ) -> dict[str, Any]:
        """Which class a picture shows, with probabilities. Below the threshold a model abstains.

        image: IMAGE. classes: words or sentences; without them the model's own classifier answers. models: names of
        `about`; none means the student.
        """
        answers = service.classify(_picture(image, files), classes, models or (), threshold)
        return {"answers": [asdict(one) for one in answers], "notice": PURPOSE}

    def search(
        text: str = "", image: str = "", k: int = 10, where: str = "", not_same_patient: str = "", by: str = "picture"
    ) -> dict[str, Any]:
        """The pictures of the archive that are most like a text or a picture, best first; score is a cosine.

        image: IMAGE. where: a condition such as: modality = 'ct' AND caption LIKE '%effusion%'. not_same_patient:
        whose pictures are left out. by: picture, series or patient.
        """
        picture = _picture(image, files) if image else None
        hits = service.search(text, picture, k, where, not_same_patient, by)
        shown = [{key: value for key, value in asdict(one).items() if key != "thumbnail"} for one in hits]
        return {"hits": shown, "notice": PURPOSE}

    def about() -> dict[str, Any]:
        """Which models and archive are served, on which data their answers rest, and what they must not be used for."""
        return asdict(service.about())

    form = "path of a file on this machine, or base64" if files else "base64 of a file"
    for function in (embed, classify, search, about):
        function.__doc__ = (function.__doc__ or "").replace("IMAGE", f"{form} (JPEG, PNG, DICOM)")
        tool(function)
    return server


def _picture(text: str, files: bool) -> bytes:
    """The bytes that the text is or names. Raises RequestError."""
    expected = "the path of a picture, or base64 of its bytes" if files else "base64 of a picture's bytes"
    if files and (path := Path(text[:4096])).is_absolute():
        try:
            return read_inside(path.parent, path.name)
        except BadRecordError as bad:
            raise RequestError(INVALID, bad.detail, expected, "check the path") from None
    try:
        return base64.b64decode(text.rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        cure = "give an absolute path" if files else "encode the file"
        raise RequestError(INVALID, f"{text[:40]!r} ({error})", expected, cure) from None
