"""What `mmkd serve` does with requests that are wrong, and an archive with processes that die.

    python bench/serve_faults.py [--requests 10000] [--clients 8] [--kills 5] [--pictures 2000]

A tenth of the requests is malformed. Each must be answered with a status: 200 where it is sound, 4xx where it is not;
the resident memory is told after a tenth of them and at the end. Then pictures are indexed into an archive that the
service searches meanwhile, and both processes are killed (-9) at a random moment, again and again: at the end the
archive must have each picture once. Writes bench/results/serve_faults.json.
"""

import argparse
import http.client
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from serve_load import Request, ask, form, free_port, in_threads, memory_mb, mmkd_command, pictures, server

from mmkd.archive.archive import Archive
from mmkd.folders.atomic import write_json
from mmkd.progress import say
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import save

RESULT = Path(__file__).parent / "results" / "serve_faults.json"
CLASSES = "pneumonia,no finding"
JSON = "application/json"
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
    rng, rows, cut_off = random.Random(0), [], 0
    share = len(files) // (options.kills + 1)
    for round_ in range(options.kills + 1):
        for number in range(round_ * share, (round_ + 1) * share):
            (source / f"{number:05d}.jpg").write_bytes(files[number])
        if round_:
            cut_off += _killed_while_writing(folder, archive, index, rng)
            rows.append(_rows(archive))
            say(f"killed with {rows[-1]:,} rows of {(round_ + 1) * share:,}")
        else:
            subprocess.run(index, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(index, check=True, stdout=subprocess.DEVNULL)
    ids = list(Archive.open(archive).states())
    return {
        "pictures": share * (options.kills + 1),
        "rows after each kill": rows,
        "writers killed before their end": cut_off,
        "rows lost by a kill": sum(later < earlier for earlier, later in pairwise(rows)),
        "rows at the end": len(Archive.open(archive)),
        "different ids": len(set(ids)),
    }


def _killed_while_writing(folder: Path, archive: Path, index: list[str], rng: random.Random) -> bool:
    """Whether the writer was still at work when it was killed, with the service that searches its archive."""
    port, before = free_port(), _rows(archive)
    command = mmkd_command(folder / "student", port, "--archive", str(archive))
    with server(command, port, folder / "search.log") as process:
        assert ask(http.client.HTTPConnection("127.0.0.1", port), SEARCH) == 200
        thread = threading.Thread(target=_search_until_gone, args=(port,))
        thread.start()
        with subprocess.Popen(index, stdout=subprocess.DEVNULL) as writer:
            while writer.poll() is None and _rows(archive) == before:
                time.sleep(0.02)
            time.sleep(rng.uniform(0.0, 0.3))
            process.send_signal(signal.SIGKILL)
            was_at_work = writer.poll() is None
            writer.send_signal(signal.SIGKILL)
        thread.join()
    return was_at_work


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
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=2_000)
    options = parser.parse_args()
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
