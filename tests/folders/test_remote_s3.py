"""moto's S3 server behind a proxy that has the faults of real networks."""

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from mmkd.errors import DataError
from mmkd.folders import remote
from mmkd.folders.remote import Urls, opened

CONTENT = random.Random(1).randbytes(3 * 2**20 + 5)
pytestmark = pytest.mark.slow  # boto3 alone takes seconds to import


@dataclass
class Faults:
    """Of answers with a part of an object: so many are 503, end after half, or wait. at_part: called with the number of
    each. parts: how many were asked for. name: of the bucket."""

    busy: int = 0
    cut: int = 0
    slow: int = 0
    at_part: Callable[[int], None] = lambda number: None
    parts: int = 0
    name: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, name: str) -> bool:
        with self.lock:
            left = getattr(self, name)
            setattr(self, name, max(0, left - 1))
        return left > 0


class Proxy(BaseHTTPRequestHandler):
    """Hands requests on to `port`."""

    port: int
    faults: Faults
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _hand_on(self) -> None:
        is_part = self.command == "GET" and "Range" in self.headers
        if is_part:
            self.faults.parts += 1
            self.faults.at_part(self.faults.parts)
        if is_part and self.faults.takes("busy"):
            self._send(503, {}, b"<Error><Code>SlowDown</Code><Message>busy</Message></Error>")
            return
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        there = http.client.HTTPConnection("127.0.0.1", self.port)
        there.request(self.command, self.path, sent, kept)
        answer = there.getresponse()
        body = answer.read()
        given = {name: value for name, value in answer.getheaders() if name.lower() not in LEFT_OUT}
        if is_part and self.faults.takes("slow"):
            time.sleep(0.3)
        self._send(answer.status, given, body, is_cut=is_part and self.faults.takes("cut"))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _hand_on

    def _send(self, status: int, headers: dict[str, str], body: bytes, is_cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if is_cut else body)
        self.close_connection = is_cut


LEFT_OUT = ("connection", "transfer-encoding", "server", "date")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """One that holds `a.tar`."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    behind = ThreadedMotoServer(port=0, verbose=False)
    behind.start()
    faults = Faults()
    handler = type("Faulty", (Proxy,), {"port": behind.get_host_and_port()[1], "faults": faults})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    proxy.daemon_threads = True
    proxy.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name, value in {"ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_port}", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setattr(remote, "BACKOFF_S", 0.001)
    S3FileSystem.clear_instance_cache()
    faults.name = f"bucket-{proxy.server_port}"  # moto keeps its buckets as long as the process lives
    fsspec.filesystem("s3").mkdir(faults.name)
    fsspec.filesystem("s3").pipe_file(f"{faults.name}/a.tar", CONTENT)
    yield faults
    S3FileSystem.clear_instance_cache()
    proxy.shutdown()
    proxy.server_close()
    behind.stop()


def read(bucket: Faults) -> bytes:
    ((_, file),) = Urls((f"s3://{bucket.name}/a.tar",)).files((".tar",))
    with opened(file) as stream:
        return stream.read()


@pytest.mark.parametrize("fault", ["busy", "cut", "slow"])
def test_an_object_is_read_whole_whatever_the_connection_does(bucket: Faults, fault: str) -> None:
    setattr(bucket, fault, 2)
    assert read(bucket) == CONTENT
    assert getattr(bucket, fault) == 0
    assert bucket.parts > 2


def test_an_object_that_changes_on_the_way_is_an_error_that_says_so(bucket: Faults) -> None:
    import boto3

    def change(number: int) -> None:
        if number == 3:
            boto3.client("s3").put_object(Bucket=bucket.name, Key="a.tar", Body=CONTENT[::-1])

    bucket.at_part = change
    with pytest.raises(DataError, match="it changed while it was read"):
        read(bucket)
