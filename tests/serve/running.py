"""A service on loopback in a thread of the test, with models whose vectors are worked out by hand."""

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

from mmkd.serve.app import make_app
from mmkd.serve.engine.limits import Limits
from mmkd.serve.engine.served import Facts, Served
from mmkd.serve.engine.service import Service
from mmkd.serve.patience import patient_protocol

SIDE = 4
DIM = 3 * SIDE * SIDE


@dataclass
class Pixels:
    """Its vector of a picture is the picture, 4 x 4 pixels large; of a text, the text's bytes."""

    name: str = "student"
    digest: str = "0123"
    dim: int = DIM
    scale: float = 10.0
    gate: threading.Event = field(default_factory=threading.Event)  # while not set, it does not compute
    batches: list[int] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def prepare(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.NEAREST)).transpose(2, 0, 1)

    def encode_prepared(self, image_BCHW: np.ndarray) -> np.ndarray:
        self.batches.append(len(image_BCHW))
        self.gate.wait(30)
        return unit(image_BCHW.reshape(len(image_BCHW), -1).astype(np.float32) + 1)

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        return self.encode_prepared(np.stack([self.prepare(image) for image in images]))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.texts.append(list(texts))
        return unit(np.stack([text_vector(text) for text in texts]))

    def count_tokens(self, texts: Sequence[str]) -> int:
        return sum(len(text.split()) for text in texts)


def text_vector(text: str) -> np.ndarray:
    return np.resize(np.frombuffer(text.encode() + b"\1", np.uint8), DIM).astype(np.float32)


def unit(value_ND: np.ndarray) -> np.ndarray:
    return np.asarray(value_ND / np.linalg.norm(value_ND, axis=1, keepdims=True), np.float32)


def picture(seed: int, side: int = 24) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8))


def png(seed: int, side: int = 24) -> bytes:
    stream = io.BytesIO()
    picture(seed, side).save(stream, "PNG")
    return stream.getvalue()


def service_of(*models: Pixels, limits: Limits | None = None, archive: object = None, **facts: object) -> Service:
    limits = limits or Limits()
    roles = ("student", "teacher", "teacher")
    served = [Served(one, limits, Facts(role=role, **facts)) for one, role in zip(models, roles, strict=False)]  # type: ignore[arg-type]
    return Service(served, archive, limits)


@contextmanager
def running(service: Service, **options: object) -> Iterator[httpx.Client]:
    """A client of the service while it runs."""
    app, protocol = make_app(service, **options), patient_protocol(service.limits)
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, http=protocol, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            pytest.fail("the server did not start")
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
