"""What one request may ask for, and how much waits at once."""

import os
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mmkd.errors import MmkdError
from mmkd.settings import Settings

INVALID, UNAUTHORISED, NOT_FOUND, SLOW, TOO_LARGE, UNREADABLE, TOO_MANY = 400, 401, 404, 408, 413, 415, 429
FAULT, BUSY, LATE = 500, 503, 504
RETRY_AFTER_S = 1.0  # of a full queue: it holds a few seconds of work
MB = 2**20


class Limits(Settings):
    """batch: pictures that go through the model at once. wait_ms: how long a batch waits for pictures that are being
    decoded; without any it does not wait. queue: pictures that wait or are being decoded, and requests at once; what
    comes beyond is refused with 503, as is a body when all that are held together exceed bodies_mb. pixels: of one
    picture. pictures, texts, classes, hits: of one request. characters: of one text. rate: requests a second and client
    in the mean (0: any number); burst: at once. timeout_s: of one request, and as long its body may take to come;
    headers_s: its headers. cached_texts: vectors of texts that are kept. threads: requests that
    are worked on at the same time. decoders: pictures that are decoded at the same time.
    """

    batch: PositiveInt = 16
    wait_ms: NonNegativeFloat = 4.0
    queue: PositiveInt = 256
    body_mb: PositiveFloat = 32.0
    bodies_mb: PositiveFloat = 512.0
    pixels: PositiveInt = 64_000_000
    pictures: PositiveInt = 32
    texts: PositiveInt = 256
    characters: PositiveInt = 4_000
    classes: Annotated[int, Field(ge=2)] = 1_000
    hits: PositiveInt = 1_000
    rate: NonNegativeFloat = 0.0
    burst: PositiveInt = 100
    timeout_s: PositiveFloat = 30.0
    headers_s: PositiveFloat = 10.0
    cached_texts: PositiveInt = 20_000
    threads: PositiveInt = 64
    decoders: PositiveInt = Field(default_factory=lambda: len(os.sched_getaffinity(0)))


class RequestError(MmkdError):
    """A request that is not answered: what was found, what was expected, what to do. status: of HTTP.
    retry_after_s: 0 where trying again is of no use.
    """

    def __init__(self, status: int, found: str, expected: str, cure: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{found}; expected {expected}; {cure}")
        self.status, self.found, self.expected, self.cure = status, found, expected, cure
        self.retry_after_s = retry_after_s
