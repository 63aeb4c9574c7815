"""`mmkd serve` as a process: a student that open_clip agrees with, a graceful end, tools over standard input."""

import asyncio
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import open_clip
import pytest
import torch
from mcp import Client, StdioServerParameters
from PIL import Image
from running import png
from typer.testing import CliRunner

from mmkd.cli import app
from mmkd.errors import ConfigError
from tiny import save_tiny

MMKD = [sys.executable, "-m", "mmkd", "serve"]
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "student"
    save_tiny(folder)
    return folder


@contextmanager
def served(student: Path, *more: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process and its port, from when it listens."""
    command = [*MMKD, str(student), "--port", "0", "--no-page", "--device", "cpu", *more]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ | environment) as process:
        try:
            for line in iter(process.stdout.readline, ""):
                if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                    yield process, int(found[1])
                    return
            pytest.fail(process.stderr.read())
        finally:
            process.kill()


@slow
def test_the_service_gives_open_clips_vectors_and_ends_gracefully(student: Path, tmp_path: Path) -> None:
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{student}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{student}")
    data = png(0, side=50)
    with torch.no_grad():
        image = model.encode_image(preprocess(Image.open(io.BytesIO(data)).convert("RGB"))[None], normalize=True)
        text = model.encode_text(tokenizer(["a chest x-ray"]), normalize=True)
    with served(student, TMPDIR=str(tmp_path)) as (process, port):
        url = f"http://127.0.0.1:{port}"
        told = httpx.post(f"{url}/v1/embeddings", files={"image": data}, data={"input": "a chest x-ray"}).json()
        np.testing.assert_allclose([row["embedding"] for row in told["data"]], torch.cat([image, text]), atol=1e-5)
        with socket.create_connection(("127.0.0.1", port)) as begun:
            head = f"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
            begun.sendall(head.encode() + data[:100])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            begun.sendall(data[100:])
            answer = b"".join(iter(lambda: begun.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert process.wait(30) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")
        assert "Traceback" not in process.stderr.read()
    assert not list(tmp_path.iterdir())  # nothing of the requests is kept


@slow
def test_an_open_page_does_not_hold_the_end_up(student: Path) -> None:
    with served(student, "--page", "--timeout", "60") as (process, port):
        page = f"http://127.0.0.1:{port}/page"
        assert httpx.get(f"{page}/", timeout=60).status_code == 200
        with httpx.stream("GET", f"{page}/gradio_api/heartbeat/session", timeout=60) as kept:  # as every open page does
            parts = kept.iter_text()
            assert "ALIVE" in next(parts)
            process.send_signal(signal.SIGTERM)
            assert "".join(parts) == ""  # ended as it should, not broken off
        assert process.wait(30) == 0
        told = process.stderr.read()
        assert "Traceback" not in told
        assert "error" not in told


@slow
def test_keys_come_from_the_environment(student: Path) -> None:
    with served(student, MMKD_API_KEYS="k" * 32) as (_, port):
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/metrics").status_code == 401
        assert httpx.get(f"{url}/metrics", headers={"x-api-key": "k" * 32}).status_code == 200


@slow
def test_the_tools_over_standard_input(student: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(0))
    command = [*MMKD[1:], str(student), "--mcp", "--device", "cpu"]

    async def ask() -> tuple[set[str], dict[str, object]]:
        async with Client(StdioServerParameters(command=MMKD[0], args=command, env=dict(os.environ))) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            values = {"image": str(tmp_path / "x.png"), "classes": ["chest x-ray", "retina"]}
            return names, (await client.call_tool("classify", values)).structured_content

    names, told = asyncio.run(ask())
    assert names == {"embed", "classify", "search", "about"}
    assert sum(score["probability"] for score in told["answers"][0]["scores"]) == pytest.approx(1)


@slow
def test_a_port_that_is_taken_is_named(student: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*--port"):
            CliRunner().invoke(app, ["serve", str(student), "--port", str(port), "--no-page"], catch_exceptions=False)


def test_others_are_refused_before_a_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMKD_API_KEYS", raising=False)
    with pytest.raises(ConfigError, match="MMKD_API_KEYS is not set"):
        CliRunner().invoke(app, ["serve", "nowhere", "--host", "0.0.0.0"], catch_exceptions=False)
