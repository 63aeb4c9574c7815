"""Servers in processes of their own, and clients that ask them: for `serve.py` and `serve_faults.py`."""

import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

BOUNDARY = "b" * 32
READY_S = 300


@dataclass(frozen=True)
class Request:
    path: str
    body: bytes
    kind: str


def pictures(count: int, side: int) -> list[bytes]:
    """JPEG files, each another one: smooth fields of grey, as large as a radiograph on the web."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
        stream = io.BytesIO()
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        found.append(stream.getvalue())
    return found


def form(path: str, picture: bytes, **values: str) -> Request:
    """A request as curl and requests send it."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in values.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n'
    parts += [f"{head}Content-Type: image/jpeg\r\n\r\n".encode(), picture, f"\r\n--{BOUNDARY}--\r\n".encode()]
    return Request(path, b"".join(parts), f"multipart/form-data; boundary={BOUNDARY}")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def end_servers_at_sigterm() -> None:
    """They are in sessions of their own: what ends the benchmark, as `timeout` does, does not reach them."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


@contextmanager
def server(command: Sequence[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, from when it accepts connections; it has all processors.

    In a session of its own: where other work is done on the machine, Linux then gives each server the same share of
    the processors, however many threads it has.
    """
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with (
        log.open("wb") as stream,
        subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, start_new_session=True) as process,
    ):
        try:
            end = time.monotonic() + READY_S
            while not accepts(port):
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{' '.join(command)} did not start: {log.read_text()[-2000:]}")
                time.sleep(0.2)
            yield process
        finally:
            process.terminate()
            process.wait(60)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def ask(connection: http.client.HTTPConnection, request: Request) -> int:
    """The status of the answer, which is read whole."""
    connection.request("POST", request.path, request.body, {"Content-Type": request.kind})
    response = connection.getresponse()
    response.read()
    return response.status


def load(port: int, requests: Sequence[Request], clients: int, seconds: float) -> tuple[list[float], float]:
    """Seconds of each request of so many clients, each of which asks as soon as it is answered, and of them all: until
    the last one that was begun within `seconds` is answered."""
    took: list[float] = []
    start = time.perf_counter()
    end = start + seconds

    def client(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        number = first
        while (begin := time.perf_counter()) < end:
            if (status := ask(connection, requests[number % len(requests)])) != 200:
                raise SystemExit(f"status {status} from port {port}")
            took.append(time.perf_counter() - begin)
            number += clients
        connection.close()

    in_threads(client, clients)
    return took, time.perf_counter() - start


def in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def memory_mb(process: int) -> float:
    """Resident."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def processor_seconds(process: int) -> float:
    """Of a process, all threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def mmkd_command(folder: Path, port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "mmkd", "serve", str(folder), "--no-page", "--port", str(port), "-q", *more]
