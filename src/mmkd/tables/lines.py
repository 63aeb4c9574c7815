"""Text files line by line, in any encoding and with any line ends, as UTF-8 with LF."""

import codecs
from typing import BinaryIO

from mmkd.errors import DataError
from mmkd.folders.remote import File, opened
from mmkd.tables.dialect import UTF8

HEAD_BYTES = 2**16  # in which a line end is looked for
CHUNK_BYTES = 2**16
UTF16 = ("utf-16-le", "utf-16-be")
MARKS = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, which begins alike
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, UTF16[0]),
    (codecs.BOM_UTF16_BE, UTF16[1]),
)


class Lines:
    """A text file; `tell` and `seek` are places in its own bytes, whatever it is encoded in.

    What cannot be decoded comes as bytes that are not UTF-8, so that it costs its own row.
    """

    def __init__(self, stream: BinaryIO, encoding: str = UTF8, line_end: str = "\n") -> None:
        self._stream = stream
        self._encoding = encoding
        self._line_end = line_end
        self._as_it_is = encoding == UTF8 and line_end == "\n"
        self._end = line_end.encode(encoding)
        self._ahead = b""

    def tell(self) -> int:
        return self._stream.tell() - len(self._ahead)

    def seek(self, place: int) -> None:
        self._stream.seek(place)
        self._ahead = b""

    def readline(self, limit: int) -> bytes:
        """The next line with its end, b"" behind the last; of a longer one no more than `limit` of the file's bytes."""
        if self._as_it_is:
            return self._stream.readline(limit)
        raw = self._raw_line(limit - limit % len(self._end))
        line = raw if self._encoding == UTF8 else _as_utf8(raw, self._encoding)
        return line[:-1] + b"\n" if self._line_end == "\r" and line.endswith(b"\r") else line

    def _raw_line(self, limit: int) -> bytes:
        begin = 0
        while (found := self._end_from(begin)) < 0 and len(self._ahead) < limit:
            begin = len(self._ahead) - len(self._ahead) % len(self._end)
            more = self._stream.read(CHUNK_BYTES)
            if not more:
                break
            self._ahead += more
        cut = min(len(self._ahead) if found < 0 else found + len(self._end), limit)
        raw, self._ahead = self._ahead[:cut], self._ahead[cut:]
        return raw

    def _end_from(self, begin: int) -> int:
        """Where a line end begins that is no half of two other characters, -1 for nowhere."""
        found = self._ahead.find(self._end, begin)
        while found % len(self._end) and found >= 0:
            found = self._ahead.find(self._end, found + 1)
        return found


def _as_utf8(raw: bytes, encoding: str) -> bytes:
    if encoding not in UTF16:
        return raw.decode(encoding, "surrogateescape").encode(UTF8, "surrogateescape")
    try:
        return raw.decode(encoding, "surrogatepass").encode(UTF8, "surrogatepass")
    except UnicodeDecodeError:  # half a character at the end of the file
        return raw.decode(encoding, "replace").encode(UTF8) + b"\xff"


def encoding_of(path: File, declared: str = "") -> tuple[str, int]:
    """The encoding, and how many bytes its byte order mark has.

    Raises DataError where mark and declaration differ, and for UTF-32 and UTF-16 that nothing tells of.
    """
    with opened(path) as stream:
        head = stream.read(HEAD_BYTES)
    mark, marked = next(((mark, name) for mark, name in MARKS if head.startswith(mark)), (b"", ""))
    if marked.startswith("utf-32"):
        raise DataError(f"{path}: a table in {marked}; convert it to UTF-8")
    if marked and declared not in ("", marked, marked[:6]):
        raise DataError(f"{path}: begins with the mark of {marked}, but encoding = {declared!r}; remove the setting")
    encoding = marked or (UTF16[0] if declared == "utf-16" else declared) or UTF8
    if encoding not in UTF16 and b"\0" in head.partition(b"\n")[0]:
        raise DataError(f'{path}: NUL bytes in its first line, as UTF-16 has them; set encoding = "utf-16"')
    return encoding, len(mark)


def line_end_of(path: File, encoding: str) -> str:
    """CR where the file has no other line end, as old Macs write it."""
    with opened(path) as stream:
        head = stream.read(HEAD_BYTES).decode(encoding, "replace")
    return "\r" if "\n" not in head and "\r" in head[:-1] else "\n"
