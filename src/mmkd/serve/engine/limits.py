"""What one request may ask for, and how much waits at once."""

import os
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mmkd.errors import MmkdError
from mmkd.settings import Settings

INVALID, UNAUTHORISED, NOT_FOUND, TOO_LARGE, UNREADABLE, TOO_MANY, BUSY, LATE = 400, 401, 404, 413, 415, 429, 503, 504
RETRY_AFTER_S = 1.0  # of a full queue: it holds a few seconds of work


class Limits(Settings):
    """batch: pictures that go through the model at once. wait_ms: how long a batch waits for pictures that are being
    decoded; without any it does not wait. queue: pictures that wait or are being decoded; what comes beyond is refused
    with 503. pixels: of one picture. pictures, texts, characters: of one request, and of one text. classes: of one
    question. hits: of one search. rate: requests a second and client, in the mean (0: any number); burst: at once.
    cached_texts: vectors of texts that are kept. threads: requests that are answered at the same time.
    """

    batch: PositiveInt = 16
    wait_ms: NonNegativeFloat = 4.0
    queue: PositiveInt = 256
    body_mb: PositiveFloat = 32.0
    pixels: PositiveInt = 64_000_000
    pictures: PositiveInt = 32
    texts: PositiveInt = 256
    characters: PositiveInt = 4_000
    classes: Annotated[int, Field(ge=2)] = 1_000
    hits: PositiveInt = 1_000
    rate: NonNegativeFloat = 50.0
    burst: PositiveInt = 100
    timeout_s: PositiveFloat = 30.0
    cached_texts: PositiveInt = 20_000
    threads: PositiveInt = 64
    decoders: PositiveInt = Field(default_factory=lambda: len(os.sched_getaffinity(0)))


class RequestError(MmkdError):
    """A request that is not answered: what was found, what was expected, what to do. status: of HTTP."""

    def __init__(self, status: int, found: str, expected: str, cure: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{found}; expected {expected}; {cure}")
        self.status, self.found, self.expected, self.cure = status, found, expected, cure
        self.retry_after_s = retry_after_s
