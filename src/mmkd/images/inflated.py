"""Deflated bytes as a file that is inflated only as far as it is read."""

import io
import zlib
from typing import BinaryIO

BLOCK_BYTES = 2**16
KEPT_BYTES = 2**16  # before the place last read from; parsers step back by the head of a field


class TooLargeError(Exception):
    """Decoding this would take more memory than any picture needs."""


class Inflated:
    """What a stream of raw deflate holds from its present place on. Only what is asked for is inflated and held.

    Reading beyond `limit` bytes raises TooLargeError before they are inflated; a stream that is broken, or ends before
    its own end, raises zlib.error where that is reached.
    """

    def __init__(self, deflated: BinaryIO, limit: int) -> None:
        self._deflated, self._limit = deflated, limit
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._held, self._first = bytearray(), 0  # _first: the place of what is held in the whole
        self._place = 0

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """From the start or the present place; nothing is read yet."""
        self._place = offset + (self._place if whence == io.SEEK_CUR else 0)
        return self._place

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        start, end = self._place, self._place + size
        if end > self._limit:
            raise TooLargeError(f"{end:,} inflated bytes, at most {self._limit:,} are read")
        if start < self._first:
            raise zlib.error("what was inflated is read again from too far back")
        self._inflate(start, end)
        with memoryview(self._held) as held:
            found = bytes(held[start - self._first : end - self._first])
        self._place = start + len(found)
        return found

    def _inflate(self, start: int, end: int) -> None:
        """Hold the bytes from `start` to `end`, or to the end of the stream."""
        while (reached := self._first + len(self._held)) < end and not self._inflater.eof:
            deflated = self._inflater.unconsumed_tail or self._deflated.read(BLOCK_BYTES)
            block = self._inflater.decompress(deflated, min(end - reached, 16 * BLOCK_BYTES))
            if not deflated and not block and not self._inflater.eof:
                raise zlib.error("the deflated data are cut off")
            self._held += block
            if (done := min(start, reached) - KEPT_BYTES - self._first) > 0:
                del self._held[:done]
                self._first += done
