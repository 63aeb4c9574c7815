"""A service on loopback with its page, whose models see colours: what they must answer is known."""

import io
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import uvicorn
from PIL import Image

from mmkd.archive.archive import Hit
from mmkd.inference.model import in_batches
from mmkd.labels.calibrate import Calibration
from mmkd.serve.app import make_app
from mmkd.serve.engine.limits import Limits
from mmkd.serve.engine.served import Facts, Served
from mmkd.serve.engine.service import Service
from mmkd.statistics.metrics import Array

COLOURS = {"red": (1.0, 0.1, 0.1), "green": (0.1, 1.0, 0.1), "blue": (0.1, 0.1, 1.0)}
SIZE = 64

SETS = {"colours": {name: [name] for name in COLOURS}}


class ColourModel:
    """Pictures and words by their colour. turn: places by which it takes one colour for another."""

    def __init__(self, name: str, turn: int = 0) -> None:
        self.name, self.digest, self.dim, self.scale = name, f"{name}-digest", 3, 5.0
        self._turn = turn

    def prepare(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((SIZE, SIZE)), np.uint8).transpose(2, 0, 1)

    def encode_prepared(self, image_BCHW: np.ndarray) -> Array:
        return _unit(np.roll(image_BCHW.mean(axis=(2, 3)) + 1.0, self._turn, axis=1))

    def count_tokens(self, texts: Sequence[str]) -> int:
        return len(texts)

    def encode_images(self, images: Sequence[Image.Image]) -> Array:
        return in_batches(self, images)

    def encode_texts(self, texts: Sequence[str]) -> Array:
        if "crash" in texts:
            raise RuntimeError("a secret of the machine")
        words = [next((c for name, c in COLOURS.items() if name in text), (0.5, 0.5, 0.5)) for text in texts]
        return _unit(np.array(words))


def _unit(vector_ND: np.ndarray) -> Array:
    return np.asarray(vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True), np.float32)


CARD = """---
licence: other
---
# Card of the student
Trained on colours. ![far](http://192.0.2.1/x.png) <script>document.title = "taken over"</script>
"""


def colour_service(archive: object = None, folder: Path | None = None) -> Service:
    """A calibrated student that sees colours as they are, and a teacher that takes each for the next."""
    limits = Limits(body_mb=2)
    fitted = {"colours": Calibration(0.2, "temperature fitted on 100 pictures of colours", True)}
    student = Facts("student", "torch", "Apache-2.0", CARD, SETS, fitted)
    teacher = Facts("teacher", "torch", "MIT")
    served = [Served(ColourModel("student"), limits, student), Served(ColourModel("turned", 1), limits, teacher)]
    return Service(served, archive, limits, folder)


@contextmanager
def running(service: Service) -> Iterator[str]:
    """The address of the page."""
    app = make_app(service, page=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
        free.listen()
        thread = threading.Thread(target=server.run, args=([free],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{free.getsockname()[1]}/page/"
        finally:
            server.should_exit = True
            thread.join(10)
            service.close()


class ColourArchive:
    """Two pictures, one of which is of a patient."""

    store = SimpleNamespace(place="archive of colours")

    def __len__(self) -> int:
        return 2

    def search(self, vector_D: Array, k: int, where: str, not_same_patient: str, by: str) -> list[Hit]:
        hits = [
            Hit(1, float(vector_D[0]), "1", "s", "red.png", "a red picture", "ct", "P1", "", None, THUMBNAIL),
            Hit(2, float(vector_D[2]), "2", "s", "blue.png", "a blue picture", "mri", "P2", "", None, b""),
        ]
        allowed = [hit for hit in hits if where in ("", f"modality = '{hit.modality}'")]
        wanted = [hit for hit in allowed if hit.patient != not_same_patient]
        return sorted(wanted, key=lambda hit: -hit.score)[:k]


def _thumbnail() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(stream, "JPEG")
    return stream.getvalue()


THUMBNAIL = _thumbnail()


def spot(path: Path, colour: str, place: tuple[int, int] = (16, 16), size: int = 256) -> Path:
    """A grey picture with a spot of a colour at x, y."""
    image = Image.new("RGB", (size, size), (40, 40, 40))
    image.paste(tuple(int(255 * part) for part in COLOURS[colour]), (*place, place[0] + 64, place[1] + 64))
    image.save(path)
    return path
