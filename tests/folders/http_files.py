"""An HTTP server on loopback that gives ranges of the files of a folder, and has the faults of real ones."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Faults:
    """busy: so many answers are 503. cut: so many bodies end after half. slow: so many bodies wait before they come.
    etags: whether files have ETags. ranges: whether parts are given. listing: whether folders are listed.
    changes_after: bodies after which the file is another. cut_paths: whose bodies always end after half."""

    busy: int = 0
    cut: int = 0
    slow: int = 0
    silence_s: float = 0.0
    etags: bool = True
    ranges: bool = True
    listing: bool = True
    changes_after: int = -1
    cut_paths: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    begins: list[int] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    folder: Path
    faults: Faults
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        faults, path = self.faults, self.folder / unquote(urlsplit(self.path).path).lstrip("/")
        faults.asked[f"{self.command} {self.path}"] += 1
        if with_body and faults.busy:
            faults.busy -= 1
            self._send(503, b"busy", with_body)
        elif path.is_dir() and faults.listing:
            names = sorted(f"{one.name}/" if one.is_dir() else one.name for one in path.iterdir())
            self._send(200, "".join(f'<a href="{name}">{name}</a>' for name in names).encode(), with_body)
        elif path.is_file():
            self._file(path, with_body)
        else:
            self._send(404, b"no such file", with_body)

    def _file(self, path: Path, with_body: bool) -> None:
        faults, content = self.faults, path.read_bytes()
        if with_body:
            faults.changes_after -= 1
            if faults.changes_after == 0:
                path.write_bytes(content[::-1])
        headers = {"Accept-Ranges": "bytes"} if faults.ranges else {}
        if faults.etags:
            headers["ETag"] = f'"{hashlib.md5(content).hexdigest()}"'
        wanted = self.headers.get("Range", "") if faults.ranges else ""
        if not wanted:
            self._send(200, content, with_body, headers)
            return
        begin, _, end = wanted.removeprefix("bytes=").partition("-")
        first, last = int(begin), min(int(end or len(content) - 1), len(content) - 1)
        faults.begins.append(first)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(206, content[first : last + 1], with_body, headers)

    def _send(self, status: int, body: bytes, with_body: bool, headers: dict[str, str] | None = None) -> None:
        faults = self.faults
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        if status == 206 and (faults.cut or self.path in faults.cut_paths):
            faults.cut -= bool(faults.cut)
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        if status == 206 and faults.slow:
            faults.slow -= 1
            time.sleep(faults.silence_s)
        self.wfile.write(body)


@contextmanager
def http_files(folder: Path, faults: Faults | None = None) -> Iterator[str]:
    """The URL of the folder."""
    handler = type("Served", (Handler,), {"folder": folder, "faults": faults or Faults()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
