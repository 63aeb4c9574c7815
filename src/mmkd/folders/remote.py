"""Files by URL, through fsspec: listed, known by their ETags, and streamed, so that readers open them as files on disk.

Credentials come from the environment, as fsspec's libraries look for them. A URL itself may hold some (user:password@,
a signed query): what is shown or written down of it is without them.
"""

import hashlib
import io
import posixpath
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar

from mmkd.errors import ConfigError, DataError
from mmkd.folders.paths import MAX_FILE_BYTES
from mmkd.folders.regular import is_foreign, is_inside, open_regular
from mmkd.reasons import BadRecordError, Reason
from mmkd.settings import URL

T = TypeVar("T")
FIRST_BYTES, BLOCK_BYTES = 2**18, 2**23  # of a request: doubled from one to the next as long as reading goes on
ATTEMPTS = 6
BACKOFF_S, LONGEST_S = 0.5, 30.0  # doubled from attempt to attempt
SILENCE_S = 60.0  # without a byte, after which an HTTP request counts as failed
AGAIN = (408, 425, 429)  # beside 5xx: answers after which the same request may succeed
LASTING = (ImportError, NotImplementedError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError)
TAGS = ("ETag", "etag", "blob_id", "md5Hash", "Content-MD5")  # what file systems call a mark of the content
TIMES = ("Last-Modified", "LastModified", "last_modified", "mtime", "updated", "created")
INSTALL = "files by URL need the extra 'remote': pip install 'mmkd[remote]'"
_SECRETS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/?#\s]*@)?([^?#\s'\"<>]*)(?:[?#][^\s'\"<>]*)?")


def is_url(value: object) -> bool:
    """Whether it names a file by URL and not by path."""
    return isinstance(value, str) and URL.match(value) is not None


def without_secrets(text: str) -> str:
    """The text, of whose URLs user, password, query and fragment are cut off."""
    return _SECRETS.sub(r"\1\2", text)


@dataclass(frozen=True, repr=False)
class RemoteFile:
    """url: as it is asked for. size: bytes. stamp: what it is known by; both as they were when it was listed."""

    url: str
    size: int
    stamp: str

    def __str__(self) -> str:
        return without_secrets(self.url)

    def __repr__(self) -> str:
        return f"RemoteFile({str(self)!r}, {self.size}, {self.stamp!r})"

    @property
    def suffix(self) -> str:
        return PurePosixPath(str(self)).suffix

    def check(self) -> None:
        """Raise DataError where it is not the file that was listed any more."""
        try:
            found = _file(self.url)
        except FileNotFoundError:
            raise DataError(f"{self}: it was there and is no more; run the command again") from None
        if (found.size, found.stamp) != (self.size, self.stamp):
            raise DataError(
                f"{self}: it changed while it was read (was {self.stamp!r} of {self.size:,} bytes, now {found.stamp!r} "
                f"of {found.size:,}); run the command again, with --force where a folder was begun from the old one"
            )

    def beside(self, name: str) -> bytes:
        """The bytes of a file in the folder of this one, which is a table that names it. Raises BadRecordError as
        `paths.read_inside` does."""
        if is_url(name) or not is_inside(name):
            raise BadRecordError(Reason.OUTSIDE_FOLDER, f"{name}: leads outside the folder of its table")
        url, mark, query = self.url.partition("?")
        system, path = _opened_system(f"{posixpath.dirname(url)}/{name}{mark}{query}")
        try:
            size = retried(url, partial(system.size, path))
            if size is None or size > MAX_FILE_BYTES:
                raise BadRecordError(
                    Reason.OVERSIZED_FILE, f"{name}: {size} bytes, at most {MAX_FILE_BYTES:,} are read"
                )
            content: bytes = retried(url, partial(system.cat_file, path))
        except FileNotFoundError:
            raise BadRecordError(Reason.MISSING_FILE, f"{name}: no such file below the source's folder") from None
        return content


File = Path | RemoteFile
NamedFiles = list[tuple[str, File]]
"""Each by its path below the source."""


@dataclass(frozen=True, repr=False)
class Urls:
    """Where a source's files are: a file, a folder, a pattern, or several of these."""

    urls: tuple[str, ...]

    def __str__(self) -> str:
        shown = [without_secrets(url) for url in self.urls]
        return shown[0] if len(shown) == 1 else f"{posixpath.commonprefix(shown)}... ({len(shown)} URLs)"

    def __repr__(self) -> str:
        return f"Urls({self.shown()!r})"

    def shown(self) -> str | list[str]:
        """As a recipe has them, without secrets."""
        shown = [without_secrets(url) for url in self.urls]
        return shown[0] if len(shown) == 1 else shown

    @property
    def home(self) -> str:
        """The URL, of several the folder above all, without secrets."""
        return posixpath.commonpath([without_secrets(url) for url in self.urls])

    def is_file(self, suffixes: Sequence[str]) -> bool:
        """Whether it is one file by its name: no pattern, no folder."""
        return len(self.urls) == 1 and _is_file(self.urls[0], suffixes)

    def files(self, suffixes: Sequence[str], searched: Sequence[str] = ()) -> NamedFiles:
        """All files, sorted by name. What ends in one of the suffixes and is no pattern is a file; below folders those
        are taken that end in one of `searched`, which are the suffixes where none are given.

        Raises DataError where there are none, or the server cannot list them."""
        searched = searched or suffixes
        found = [one for url in self.urls for one in _expanded(url, suffixes, searched)]
        if not found:
            raise DataError(
                f"{self}: no file ending in {', '.join(searched)} found; correct the path of the source, or give "
                "the URLs of the files as a list, where the server does not list them"
            )
        home = posixpath.commonpath([home for home, _ in found])
        return sorted((posixpath.relpath(without_secrets(file.url), home), file) for _, file in found)


@contextmanager
def opened(file: File) -> Iterator[BinaryIO]:
    """The file, to be read. At the end a remote one must still be what it was when it was listed, else DataError: a
    shard is written only when it is read whole."""
    if isinstance(file, Path):
        with open_regular(file) as stream:
            yield stream
        return
    with io.BufferedReader(_Stream(file), FIRST_BYTES) as stream:
        try:
            yield stream
        finally:
            file.check()


def stamp_of(file: File) -> str:
    """What tells that a file has changed: of a file on disk, size and time; of a remote one, ETag or size and time."""
    if isinstance(file, RemoteFile):
        return file.stamp
    found = file.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def fingerprint_of(files: NamedFiles) -> str:
    """Digest over names and sizes, of remote files over their stamps too."""
    total = hashlib.sha256()
    for name, file in files:
        content = f"{file.size} {file.stamp}" if isinstance(file, RemoteFile) else file.stat().st_size
        total.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def retried(url: str, call: Callable[[], T]) -> T:
    """What the call returns, which is repeated after failures that may pass, each time after a longer wait.

    Raises FileNotFoundError where there is no such file, else DataError that tells the last failure.
    """
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except Exception as error:  # every file system has failures of its own
            if isinstance(error, DataError) or (isinstance(error, FileNotFoundError) and _lasts(error)):
                raise
            last = error
            if _lasts(error):
                break
        if attempt + 1 < ATTEMPTS:
            time.sleep(min(BACKOFF_S * 2**attempt, LONGEST_S))
    tried = f"after {attempt + 1} attempts" if attempt else "at once"
    raise DataError(
        f"{without_secrets(url)}: cannot be read ({type(last).__name__}: {without_secrets(str(last))[:200]}; given up "
        f"{tried}); check address, network and the credentials in the environment, then run the command again: it goes "
        "on from the shards that are finished"
    ) from None


def _lasts(error: BaseException) -> bool:
    """Whether another attempt would fail as well."""
    if (status := getattr(error, "status", None)) is not None:  # of an answer by HTTP
        return 400 <= int(status) < 500 and status not in AGAIN
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        return _lasts(error.__cause__)  # fsspec says so of whatever HTTP failed by
    return isinstance(error, (FileNotFoundError, *LASTING))


class _Stream(io.RawIOBase):
    """A remote file in blocks of growing size, of which the next is on its way while one is read."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._place = self._begin = 0
        self._block = b""
        self._bytes = FIRST_BYTES
        self._coming: tuple[int, Future[bytes]] | None = None
        self._pool = ThreadPoolExecutor(1)  # one at a time has the connection
        self._handle: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + (0, self._place, self._file.size)[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        if self._place >= self._file.size:
            return 0
        if not self._begin <= self._place < self._begin + len(self._block):
            self._load()
        piece = memoryview(self._block)[self._place - self._begin :][: len(buffer)]
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _load(self) -> None:
        if self._coming is None or self._coming[0] != self._place:
            self._bytes = FIRST_BYTES
            self._coming = self._place, self._pool.submit(self._fetch, self._place, self._bytes)
        self._begin, self._block = self._place, self._coming[1].result()
        self._bytes = min(2 * self._bytes, BLOCK_BYTES)
        following = self._begin + len(self._block)
        self._coming = following, self._pool.submit(self._fetch, following, self._bytes)

    def _fetch(self, begin: int, size: int) -> bytes:
        """So many bytes, fewer at the end of the file; after a failure from where it was."""
        end = min(begin + size, self._file.size)
        found = b""
        while len(found) < end - begin:
            found += retried(self._file.url, partial(self._piece, begin + len(found), end))
        return found

    def _piece(self, begin: int, end: int) -> bytes:
        try:
            if self._handle is None:
                system, path = _opened_system(self._file.url)
                self._handle = system.open(path, "rb", block_size=BLOCK_BYTES, cache_type="none")
            self._handle.seek(begin)
            if not (piece := bytes(self._handle.read(end - begin))):
                raise EOFError(f"nothing at byte {begin} of {self._file.size}")
        except Exception:
            self._handle = None
            self._file.check()  # before it is asked for again
            raise
        return piece


def _expanded(url: str, suffixes: Sequence[str], searched: Sequence[str]) -> Iterator[tuple[str, RemoteFile]]:
    """Folder above all that a URL can mean, and each file that it means."""
    if _is_file(url, suffixes):
        try:
            yield posixpath.dirname(without_secrets(url)), _file(url)
        except FileNotFoundError:
            raise DataError(f"{without_secrets(url)}: no such file; correct the path of the source") from None
        return
    system, path = _opened_system(url)
    home, ends = without_secrets(url).rstrip("/"), tuple(searched)
    listing = partial(system.find, path, detail=True)
    if _is_pattern(url):
        listing, ends = partial(system.glob, path, detail=True), ("",)
        while _is_pattern(home):
            home = posixpath.dirname(home)
    try:
        found: Mapping[str, Mapping[str, Any]] = retried(url, listing)
    except FileNotFoundError:
        return
    for name, details in found.items():
        full = system.unstrip_protocol(name)
        below = posixpath.relpath(without_secrets(full), home)
        if name.lower().endswith(ends) and not any(is_foreign(part) for part in below.split("/")):
            yield home, _known(full, details) or _file(full)


def _is_pattern(url: str) -> bool:
    return any(sign in without_secrets(url) for sign in "*[")


def _is_file(url: str, suffixes: Sequence[str]) -> bool:
    return not _is_pattern(url) and without_secrets(url).lower().endswith(tuple(suffixes))


def _file(url: str) -> RemoteFile:
    """As it is now. Raises FileNotFoundError, and DataError where the server tells too little of it."""
    system, path = _opened_system(url)

    def asked() -> Mapping[str, Any]:
        system.invalidate_cache(path)  # the hub's file system asks its server here already
        found: Mapping[str, Any] = system.info(path)
        return found

    details = retried(url, asked)
    found = _known(url, details, TAGS + TIMES)
    if found is None or details.get("partial") is False:
        raise DataError(
            f"{without_secrets(url)}: its server tells no size or date of it, or gives no parts of it (range "
            "requests), so it cannot be read piece by piece; download it and name the file"
        )
    return found


def _known(url: str, details: Mapping[str, Any], marks: Sequence[str] = TAGS) -> RemoteFile | None:
    """None where it cannot be told from another file of that name."""
    size, stamp = details.get("size"), next((f"{details[mark]}" for mark in marks if details.get(mark)), "")
    return RemoteFile(url, size, stamp) if stamp and size is not None else None


def _opened_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Raises DataError where its library is not installed."""
    import fsspec

    options: dict[str, Any] = {"use_listings_cache": False}
    try:
        if url.startswith(("http://", "https://")):
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)
            # trust_env: proxies and ~/.netrc. identity: a .tar.gz comes as it is
            headers = {"Accept-Encoding": "identity"}
            options["client_kwargs"] = {"timeout": timeout, "trust_env": True, "headers": headers}
        system, path = fsspec.url_to_fs(url, **options)
    except ImportError as error:
        raise DataError(f"{without_secrets(url)}: {INSTALL} ({error})") from None
    except ValueError as error:
        raise ConfigError(f"{without_secrets(url)}: {error}") from None
    return system, path
