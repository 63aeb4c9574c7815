"""A full disk, Ctrl-C and kill -9 in the commands that write: nothing half-written is taken for whole, the message is
one line, no draft is left, and the same command again leaves what an undisturbed run leaves."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import PIPE

import lancedb
import pytest

from mmkd.export.checksums import write_sums
from tiny import save_tiny, write_noise

pytestmark = pytest.mark.slow
COLOURS = {"a": (200, 40, 40), "b": (40, 40, 200)}
Fault = tuple[str, str]
Jobs = Sequence[tuple[list[str], Fault | tuple[()]]]
Lives = Callable[[Jobs], list[tuple[int, list[str]]]]
CODES = {"full": 2, "interrupt": 130, "kill": -9, "limit": 2}
UNEQUAL = ("log.json", "files.json", "manifest.json", "adapt.html", "adapt.json", "agreement.json", "SHA256SUMS")
"""Times, seconds of a comparison, and digests over these."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model` and `pictures` with a table `labels.csv`."""
    folder = tmp_path_factory.mktemp("world")
    write_sums(save_tiny(folder / "model"))
    (folder / "pictures").mkdir()
    names = write_noise(folder / "pictures", 12, 0)
    lines = [f"pictures/{path.name},{'ab'[place % 2]}" for place, path in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return folder


def command(world: Path, name: str, out: Path) -> list[str]:
    model = ["--model", str(world / "model"), "--device", "cpu"]
    pictures = str(world / "pictures")
    return {
        "embed": ["embed", pictures, *model[:2], "--devices", "cpu", "--workers", "1", "--out", f"{out}/v.parquet"],
        "embed-npy": ["embed", pictures, *model[:2], "--devices", "cpu", "--workers", "1", "--out", f"{out}/v.npy"],
        "label": ["label", pictures, *model, "--classes", "a,b", "--workers", "1", "--out", f"{out}/l.csv"],
        "index": ["index", pictures, *model, "--out", f"{out}/archive"],
        "adapt": [
            *("adapt", "--labels", str(world / "labels.csv"), *model, "--folds", "2", "--seeds", "1"),
            *("--out", f"{out}/adapted"),
        ],
        "export": ["export", str(world / "model"), "--to", "open_clip", "--out", f"{out}/export"],
        "search": [
            *("search", f"{world}/archive", "lung", *model, "--out", f"{out}/hits.csv", "--html", f"{out}/hits.html"),
        ],
    }[name]  # fmt: skip


PLACES: dict[str, Sequence[str]] = {
    "embed": ("*.arrow:2", "v.parquet"),
    "embed-npy": ("v.ids.csv", "v.npy", "v.json"),
    "label": ("*.arrow:2", "l.csv", "l.json", "l.html"),
    "adapt": ("classifier.safetensors", "SHA256SUMS", "manifest.json"),
    "export": ("open_clip_model.safetensors", "SHA256SUMS", "manifest.json"),
    "search": ("hits.csv", "hits.html"),
}
LIMITS: dict[str, Sequence[int]] = {"embed": (1000, 2000), "label": (2000,), "index": (2500,), "adapt": (6000,),
              "export": (100_000,)}  # fmt: skip
RESULTS = {"embed": "v.parquet", "embed-npy": "v.npy", "label": "l.csv", "adapt": "adapted", "export": "export",
           "search": "hits.csv"}  # fmt: skip


def faults_of(name: str) -> list[Fault]:
    kinds = ("full", "interrupt", "kill")
    found = [(kind, place) for place in PLACES.get(name, ()) for kind in kinds]
    found += [(f"rows-{kind}", place) for kind in kinds for place in ("1", "2") if name == "index"]
    return found + [("limit", str(size)) for size in LIMITS.get(name, ())]


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    """Runs commands, each with a fault or (); one process for all tests here imports what they need."""
    script = [sys.executable, str(Path(__file__).with_name("faults.py"))]
    log = tmp_path_factory.mktemp("lives") / "log"
    with log.open("w") as told, subprocess.Popen(script, stdin=PIPE, stdout=PIPE, stderr=told, text=True) as process:

        def live(jobs: Jobs) -> list[tuple[int, list[str]]]:
            assert process.stdin is not None
            assert process.stdout is not None
            asked = [{"arguments": arguments, "fault": fault} for arguments, fault in jobs]
            print(json.dumps(asked), file=process.stdin, flush=True)
            answer = next((line for line in process.stdout if line.startswith("ended ")), "")
            assert answer, log.read_text()
            found: list[tuple[int, list[str]]] = json.loads(answer.removeprefix("ended "))
            return found

        yield live
        process.kill()  # it waits for more and holds nothing


def content(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in UNEQUAL and not path.name.endswith(".lock")
    }


@pytest.mark.parametrize("name", ["embed", "embed-npy", "label", "adapt", "export", "search", "index"])
def test_a_command_that_was_cut_off_goes_on(world: Path, lives: Lives, tmp_path: Path, name: str) -> None:
    faults, jobs = faults_of(name), []
    places = {fault: tmp_path / f"{number}" for number, fault in enumerate(faults)}
    for out in (whole := tmp_path / "whole", *places.values()):
        out.mkdir()
    if name == "search" and not (world / "archive").exists():
        jobs.append((["index", str(world / "pictures"), "--model", f"{world}/model", "--out", f"{world}/archive"], ()))
    jobs.append((command(world, name, whole), ()))
    ended = lives([*jobs, *((command(world, name, out), fault) for fault, out in places.items())])
    assert [code for code, _ in ended[: len(jobs)]] == [0] * len(jobs), ended[: len(jobs)]
    for (kind, place), (code, told) in zip(faults, ended[len(jobs) :], strict=True):
        out = places[kind, place]
        assert code == CODES[kind.removeprefix("rows-")], (kind, place, code, told)
        if code != -9:
            assert len(told) == 1, (kind, place, told)
            assert told[0].startswith("mmkd: "), (kind, place, told)
            assert not list(out.rglob("*.tmp")), (kind, place)
        if place == RESULTS.get(name):
            assert not (out / place).exists(), (kind, place)
    again = lives([(command(world, name, out), ()) for out in places.values()])
    assert [code for code, _ in again] == [0] * len(faults), again
    for fault, out in places.items():
        if name == "index":
            assert rows(out) == rows(whole), fault
        else:
            assert content(out) == content(whole), fault
        assert not list(out.rglob("*.tmp")), fault
        assert not [path for path in out.rglob("*") if path.name.endswith((".parts", ".partial"))], fault


def rows(out: Path) -> list[dict[str, object]]:
    table = lancedb.connect(str(out / "archive")).open_table("pictures").to_arrow()
    found: list[dict[str, object]] = table.sort_by("id").to_pylist()
    return found
