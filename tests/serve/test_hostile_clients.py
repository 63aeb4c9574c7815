"""Clients that send slowly, or little that becomes much: each is refused in time, and others are answered meanwhile."""

import gzip
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from dicom_samples import dicom
from pydicom.uid import DeflatedExplicitVRLittleEndian
from running import Pixels, png, running, service_of

from mmkd.serve import refusals
from mmkd.serve.engine.limits import Limits

HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\n"
IMPATIENT = Limits(headers_s=0.5, timeout_s=1.0)
MOST_S = 8.0  # until the answer is there, on a machine with other work


@pytest.fixture(scope="module")
def usual() -> Iterator[httpx.Client]:
    with running(service_of(Pixels())) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running(service_of(Pixels(), limits=IMPATIENT)) as client:
        yield client


def trickled(client: httpx.Client, begin: bytes) -> bytes:
    """What is answered, until the connection is closed, to one that goes on with a byte at a time."""
    end, found = time.monotonic() + MOST_S, b""
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.sendall(begin)
        connection.settimeout(0.1)
        while time.monotonic() < end:
            try:
                connection.sendall(b"x")
                if not (part := connection.recv(65536)):
                    return found
                found += part
            except TimeoutError:
                assert client.post("/v1/embeddings", content=png(0)).status_code == 200  # others do not wait
            except OSError:  # it is closed
                return found
    pytest.fail(f"still open, answered so far: {found!r}")


def error_of(answered: bytes, status: int) -> dict[str, Any]:
    head, _, body = answered.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answered
    assert b"connection: close" in head.lower()
    return dict(json.loads(body)["error"])


@pytest.mark.parametrize("begin", [b"", b"P", HEAD, HEAD + b"X-Long: "])
def test_headers_that_trickle_end_with_408(client: httpx.Client, begin: bytes) -> None:
    assert "headers" in error_of(trickled(client, begin), 408)["message"]


def test_headers_of_a_second_request_may_not_trickle_either(client: httpx.Client) -> None:
    first = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answered = trickled(client, first + HEAD)
    assert answered.startswith(b"HTTP/1.1 200")
    assert answered.count(b"HTTP/1.1 408 ") == 1


@pytest.mark.parametrize("path", [b"/v1/embeddings", b"/classify", b"/mcp"])
def test_a_body_that_trickles_ends_with_408(client: httpx.Client, path: bytes) -> None:
    kind = b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    begin = HEAD.replace(b"/v1/embeddings", path) + kind + b"Content-Length: 5000\r\n\r\n{"
    assert "bytes of a body within 1 s" in error_of(trickled(client, begin), 408)["message"]


def test_a_silent_connection_is_closed(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=MOST_S) as connection:
        answered = b"".join(iter(lambda: connection.recv(65536), b""))
    assert "headers" in error_of(answered, 408)["message"]


def test_a_huge_declared_body_is_refused_before_it_comes(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "DRAINED_S", 0.2)
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=MOST_S) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000000000\r\n\r\n")
        assert b" 413 " in connection.recv(65536).partition(b"\r\n")[0]


@pytest.mark.parametrize("kind", ["application/json", "image/png"])
def test_nothing_is_inflated_by_its_content_encoding(usual: httpx.Client, kind: str) -> None:
    bomb = gzip.compress(b'{"input": "' + b"x" * 200_000_000 + b'"}', 1)
    begin = time.monotonic()
    response = usual.post("/v1/embeddings", content=bomb, headers={"content-encoding": "gzip", "content-type": kind})
    assert response.status_code in (400, 415)
    assert time.monotonic() - begin < MOST_S


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width: int, height: int, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(b"\0" * 1_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (png_of(60_000, 60_000), 413),
        (png_of(2**31 - 1, 2**31 - 1), 413),
        (png_of(8_001, 8_000), 413),
        (png_of(64, 64, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 200_000_000, 9))), 415),
    ],
)
def test_a_small_file_that_becomes_large_is_refused(usual: httpx.Client, data: bytes, status: int) -> None:
    assert len(data) < 1_000_000
    begin = time.monotonic()
    assert usual.post("/v1/embeddings", content=data).status_code == status
    assert time.monotonic() - begin < MOST_S


@pytest.mark.parametrize(
    ("changed", "status"), [({"NumberOfFrames": 1_000_000}, 415), ({"Rows": 65_000, "Columns": 65_000}, 413)]
)
def test_a_dicom_file_that_claims_more_than_it_has_is_refused(
    usual: httpx.Client, tmp_path: Path, changed: dict[str, int], status: int
) -> None:
    dicom(tmp_path / "x.dcm", "1.2.3", 0)
    header = pydicom.dcmread(tmp_path / "x.dcm")
    for name, value in changed.items():
        setattr(header, name, value)
    header.save_as(tmp_path / "x.dcm")
    assert usual.post("/v1/embeddings", content=(tmp_path / "x.dcm").read_bytes()).status_code == status


def test_a_deflated_dicom_file_that_becomes_large_is_refused(usual: httpx.Client, tmp_path: Path) -> None:
    dicom(tmp_path / "x.dcm", "1.2.3", 0)
    header = pydicom.dcmread(tmp_path / "x.dcm")
    header.Rows = header.Columns = 9_000
    header.PixelData = bytes(9_000 * 9_000 * header.BitsAllocated // 8)
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    header.save_as(tmp_path / "x.dcm")
    data = (tmp_path / "x.dcm").read_bytes()
    assert len(data) < 2_000_000
    assert usual.post("/v1/embeddings", content=data).status_code == 413
