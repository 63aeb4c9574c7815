"""What `mmkd serve` does with requests that are wrong, and an archive with processes that die.

    python bench/serve_faults.py [--requests 10000] [--clients 8] [--kills 8] [--pictures 4000]

A tenth of the requests is malformed. Each must be answered with a status: 200 where it is sound, 4xx where it is not;
the resident memory is told after a tenth of them and at the end. Then pictures are indexed into an archive that the
service searches meanwhile, and both processes are killed (-9) in the middle of a write, again and again: in turn while
rows are added and in a write after that. At the end the archive must have each picture once. Writes
bench/results/serve_faults.json.
"""

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from serve_load import (
    Request,
    ask,
    end_servers_at_sigterm,
    form,
    free_port,
    in_threads,
    memory_mb,
    mmkd_command,
    pictures,
    server,
)

from mmkd.archive.archive import Archive
from mmkd.folders.atomic import write_json
from mmkd.progress import say
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import save

RESULT = Path(__file__).parent / "results" / "serve_faults.json"
CLASSES = "pneumonia,no finding"
JSON = "application/json"
LOOKED_S, STOPPED_S = 0.0001, 0.02
TINY: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
SEARCH = Request("/search", json.dumps({"text": "a caption"}).encode(), JSON)
HARMLESS = ("a caption", "pleural effusion", "normal", "a mass in the left lobe")


def sound(rng: random.Random, images: list[bytes]) -> Request:
    image = rng.choice(images)
    texts = Request("/v1/embeddings", json.dumps({"input": f"{rng.choice(HARMLESS)} {rng.random()}"}).encode(), JSON)
    return rng.choice([form("/classify", image, classes=CLASSES), form("/v1/embeddings", image), texts])


def malformed(rng: random.Random, images: list[bytes]) -> Request:
    """One of ten kinds of what users and scanners send."""
    image = rng.choice(images)
    whole = form("/classify", image, classes=CLASSES)
    return rng.choice(
        [
            Request("/classify?classes=a,b", rng.randbytes(rng.randrange(2000)), "image/png"),
            Request("/classify?classes=a,b", image[: len(image) // 3], "image/jpeg"),
            Request("/classify?classes=a,b", b"\0" * 128 + b"DICM" + rng.randbytes(500), "application/dicom"),
            Request("/classify", whole.body[: len(whole.body) // 2], whole.kind),
            Request("/classify", whole.body, "multipart/form-data"),
            Request("/v1/embeddings", b'{"input": ' + rng.randbytes(30), JSON),
            Request("/v1/embeddings", b"[" * 50_000, JSON),
            Request("/v1/embeddings", json.dumps({"inputs": "x"}).encode(), JSON),
            Request("/v1/embeddings", json.dumps({"image": "https://example.org/x.png"}).encode(), JSON),
            Request("/search", json.dumps({"text": "x", "k": -1}).encode(), JSON),
        ]
    )


def asked(port: int, process: int, options: argparse.Namespace) -> dict[str, Any]:
    """Statuses of the sound and of the malformed requests, and memory."""
    images = pictures(16, 256)
    found: Counter[tuple[str, int]] = Counter()
    memory: list[float] = []
    each = options.requests // options.clients

    def client(number: int) -> None:
        rng = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for place in range(each):
            kind = "malformed" if rng.random() < 0.1 else "sound"
            request = malformed(rng, images) if kind == "malformed" else sound(rng, images)
            found[kind, ask(connection, request)] += 1  # raises where there is no status
            if number == 0 and place == each // 10:
                memory.append(memory_mb(process))

    in_threads(client, options.clients)
    memory.append(memory_mb(process))
    wrong = sum(
        count for (kind, status), count in found.items() if (status == 200) != (kind == "sound") or status >= 500
    )
    return {
        "requests": sum(found.values()),
        "without a status": each * options.clients - sum(found.values()),
        "answered wrongly": wrong,
        "statuses": {f"{kind} {status}": count for (kind, status), count in sorted(found.items())},
        "memory_mb after a tenth": round(memory[0]),
        "memory_mb at the end": round(memory[1]),
    }


def killed(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Rows of an archive whose writer and whose reader are killed at once, while more and more pictures come."""
    source, archive = folder / "pictures", folder / "archive"
    source.mkdir()
    files = pictures(options.pictures, 48)
    index = [sys.executable, "-m", "mmkd", "index", str(source), "--out", str(archive), "-q"]
    index += ["--model", str(folder / "student")]
    rows, hits = [], []
    share = len(files) // (options.kills + 1)
    for round_ in range(options.kills + 1):
        for number in range(round_ * share, (round_ + 1) * share):
            (source / f"{number:05d}.jpg").write_bytes(files[number])
        if round_:
            hits.append(_killed_while_writing(folder, archive, index, skipped=round_ % 2))
            rows.append(_rows(archive))
            say(f"killed {hits[-1]} with {rows[-1]:,} rows of {(round_ + 1) * share:,}")
        else:
            subprocess.run(index, check=True, stdout=subprocess.DEVNULL)
            rows.append(_rows(archive))
    subprocess.run(index, check=True, stdout=subprocess.DEVNULL)
    rows.append(_rows(archive))
    return {
        "pictures": share * (options.kills + 1),
        "rows before the kills, after each and at the end": rows,
        "moments of the kills": dict(Counter(hits)),
        "rows lost by a kill": sum(max(0, earlier - later) for earlier, later in pairwise(rows)),
        "rows at the end": rows[-1],
        "different ids": len(set(Archive.open(archive).states())),
    }


def _killed_while_writing(folder: Path, archive: Path, index: list[str], skipped: int) -> str:
    """In which write the writer was killed, with the service that searches its archive meanwhile; the first `skipped`
    writes of it are let pass."""
    port = free_port()
    command = mmkd_command(folder / "student", port, "--archive", str(archive))
    with server(command, port, folder / "search.log") as process:
        assert ask(http.client.HTTPConnection("127.0.0.1", port), SEARCH) == 200
        thread = threading.Thread(target=_search_until_gone, args=(port,))
        thread.start()
        with subprocess.Popen(index, stdout=subprocess.DEVNULL) as writer:
            moment = _stopped_in_a_write(writer, archive, skipped)
            process.send_signal(signal.SIGKILL)
            writer.send_signal(signal.SIGKILL)
        thread.join()
    return moment


def _stopped_in_a_write(writer: "subprocess.Popen[bytes]", archive: Path, skipped: int) -> str:
    """Stops the process while a write is in flight: files of it are there, and no version that names them."""
    known, writes = _Written.now(archive), 0
    while writer.poll() is None:
        found = _Written.now(archive)
        if found.versions != known.versions:  # a write has ended
            known, writes = found, writes + 1
        elif found.files - known.files and writes >= skipped:
            writer.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            if _Written.now(archive).versions == known.versions:
                return f"in write {writes + 1} of the process"
            writer.send_signal(signal.SIGCONT)  # it ended just before
        time.sleep(LOOKED_S)
    return "not in a write"


@dataclass(frozen=True)
class _Written:
    """Names of what Lance has written of a table."""

    versions: frozenset[str]
    files: frozenset[str]

    @classmethod
    def now(cls, archive: Path) -> "_Written":
        versions, files = (_names(archive / "pictures.lance" / name) for name in ("_versions", "data"))
        return cls(versions, files)


def _names(folder: Path) -> frozenset[str]:
    return frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()


def _search_until_gone(port: int) -> None:
    try:
        while True:
            ask(http.client.HTTPConnection("127.0.0.1", port), SEARCH)
    except (OSError, http.client.HTTPException):  # it was killed
        return


def _rows(archive: Path) -> int:
    return len(Archive.open(archive)) if (archive / "pictures.lance").is_dir() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=4_000)
    options = parser.parse_args()
    end_servers_at_sigterm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(build_student(StudentSettings(config=TINY), seed=0), folder / "student")
        port = free_port()
        with server(mmkd_command(folder / "student", port), port, folder / "log") as process:
            found = asked(port, process.pid, options)
            found["exit code after SIGTERM"] = _stopped(process)
        if options.kills:
            found["archive"] = killed(folder, options)
    write_json(RESULT, found | {"options": vars(options)})
    print(json.dumps(found, indent=1))


def _stopped(process: "subprocess.Popen[bytes]") -> int:
    process.terminate()
    return process.wait(60)


if __name__ == "__main__":
    main()
