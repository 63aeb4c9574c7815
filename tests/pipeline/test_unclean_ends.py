"""Runs that end otherwise than they should: damaged folders, full disks, Ctrl-C. One line says so, and they go on."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmkd import cli
from mmkd.folders.intact import LOGS, _check
from mmkd.folders.stage import MANIFEST, read_manifest

Finished = tuple[Path, Any]  # the recipe, and what its teacher has been through


@pytest.fixture
def copied(finished_run: Finished, tmp_path: Path) -> tuple[Path, Path]:
    """The recipe, and a copy of its finished run."""
    recipe, _ = finished_run
    return recipe, Path(shutil.copytree(recipe.parent / "run", tmp_path / "run", symlinks=True))


def mmkd(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> int:
    _check.cache_clear()  # as a new process begins
    monkeypatch.setattr("sys.argv", ["mmkd", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove(out: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(out / name)


@pytest.mark.parametrize(
    ("damaged", "gone"),
    [
        ("features/given/data-00000-of-00001.arrow", ["reliability"]),
        ("pretrain/open_clip_model.safetensors", ["distill"]),
        ("specialists/one/open_clip_model.safetensors", ["features"]),
        ("corpus/data-00000-of-00001.arrow", ["pretrain"]),
        ("world/pairs/corpus/pairs.csv", ["corpus"]),
        ("evaluate/results.jsonl", ["report"]),
    ],
)
def test_what_is_made_from_a_damaged_folder_is_not_made(
    damaged: str,
    gone: list[str],
    copied: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, out = copied
    remove(out, *gone)
    flip(out / damaged)
    assert mmkd(monkeypatch, "run", recipe, "--out", out) == 2
    told = capsys.readouterr().err
    folder = next(parent for parent in (out / damaged).parents if (parent / MANIFEST).is_file())
    name = (out / damaged).relative_to(folder).as_posix()
    assert f"{folder} is damaged: {name} has another content than was written. Copy it back" in told
    assert not any((out / name).exists() for name in gone)


def test_verify_reads_everything_and_names_what_is_damaged(
    copied: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = copied
    assert mmkd(monkeypatch, "verify", out) == 0
    lines = capsys.readouterr().out.splitlines()
    folders = {path.parent.relative_to(out).as_posix() for path in out.rglob(MANIFEST)}
    assert dict(line.split(maxsplit=1) for line in lines) == dict.fromkeys(folders, "ok")
    before = (out / "export" / "README.md").stat()
    flip(out / "export" / "README.md")
    os.utime(out / "export" / "README.md", ns=(before.st_atime_ns, before.st_mtime_ns))
    (out / "evaluate" / MANIFEST).write_text("{")
    assert mmkd(monkeypatch, "verify", out) == 2
    told = capsys.readouterr()
    assert "  README.md has another content than was written\n" in told.out
    assert "manifest.json: not readable as JSON" in told.out
    assert told.out.count(" ok\n") == len(folders) - 2
    assert f"2 of {len(folders)} folders are damaged" in told.err
    assert mmkd(monkeypatch, "verify", recipe.parent / "nowhere") == 2


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "No space left on device; make room"),
        (errno.EDQUOT, "make room"),
        (errno.EROFS, "Read-only file system; allow it, or choose another --out"),
        (errno.EACCES, "Permission denied; allow it, or choose another --out"),
        (errno.EFBIG, "File too large; allow larger files"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    number: int,
    cure: str,
    tmp_path: Path,
    finished_run: Finished,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("mmkd.folders.atomic.os.fsync", refused)
    assert mmkd(monkeypatch, "world", finished_run[0], "--out", tmp_path / "run") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"mmkd: {tmp_path / 'run' / 'world.partial' / 'begun.json'}: ")
    assert cure in told
    assert told.count("\n") == 1
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == [".world.lock"]


def test_what_the_system_says_of_a_defect_keeps_its_traceback(
    tmp_path: Path, finished_run: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("mmkd.folders.atomic.os.fsync", refused)
    monkeypatch.setattr("sys.argv", ["mmkd", "world", str(finished_run[0]), "--out", str(tmp_path / "run")])
    with pytest.raises(OSError, match="Bad file descriptor"):
        cli.main()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(
    tmp_path: Path, finished_run: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir(mode=0o500)
    assert mmkd(monkeypatch, "world", finished_run[0], "--out", tmp_path / "run") == 2
    assert "Permission denied; allow it, or choose another --out" in capsys.readouterr().err


def command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "mmkd", *map(str, arguments)]


@contextmanager
def files_of_at_most(most_bytes: int) -> Iterator[None]:
    """In this process, since those that it would start import torch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "folder", "most_bytes"),
    [
        ("world", "world", 500),
        ("curate", "corpus", 4000),
        ("extract", "features/given", 3000),
        ("evaluate", "evaluate", 9000),
        ("report", "report", 50_000),
        ("export", "export", 5000),
    ],
)
def test_on_a_full_disk_a_stage_ends_with_a_line_and_goes_on(
    stage: str,
    folder: str,
    most_bytes: int,
    copied: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, out = copied
    (out / folder).rename(tmp_path / "whole")
    asked = stage, recipe, "--out", out
    with files_of_at_most(most_bytes):
        assert mmkd(monkeypatch, *asked) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"mmkd: {out}")
    assert "File too large; allow larger files" in told
    assert told.count("\n") == 1
    assert not (out / folder).exists()
    assert not list(out.rglob(".*.tmp"))
    assert mmkd(monkeypatch, *asked) == 0
    assert differences(tmp_path / "whole", out / folder) == []


@pytest.mark.slow
def test_the_same_run_in_another_folder_gives_the_same_bytes(finished_run: Finished, tmp_path: Path) -> None:
    recipe, _ = finished_run
    done = subprocess.run(command("run", recipe, "--out", tmp_path / "deeper" / "other"), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert differences(recipe.parent / "run", tmp_path / "deeper" / "other") == []


def differences(one: Path, other: Path) -> list[str]:
    """Names of files below two folders that are not the same; logs, and the page that draws them, hold times."""
    found = [{p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} for folder in (one, other)]
    content = {name for name in set.union(*found) if not is_log(Path(name))}
    return sorted(
        name
        for name in content
        if not all((folder / name).is_file() for folder in (one, other))
        or (one / name).read_bytes() != (other / name).read_bytes()
    )


def is_log(path: Path) -> bool:
    return path.as_posix() == "curves.html" or any(fnmatch(path.name, pattern) for pattern in LOGS)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_in_curation_is_one_line_and_the_next_run_goes_on(
    workers: int, finished_run: Finished, tmp_path: Path
) -> None:
    source = (finished_run[0]).read_text().replace("${out}/world/pairs/corpus/pairs.csv", f"{tmp_path}/pairs")
    (tmp_path / "recipe.toml").write_text(source)
    write_pairs(tmp_path / "pairs")
    out = tmp_path / "run"
    shutil.copytree(finished_run[0].parent / "run" / "world", out / "world")
    shutil.copytree(finished_run[0].parent / "run" / "specialists", out / "specialists")
    shutil.copytree(finished_run[0].parent / "given", tmp_path / "given")
    asked = command("curate", tmp_path / "recipe.toml", "--out", out, "--set", f"machine.workers={workers}")
    running = subprocess.Popen(
        asked,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 120  # the machine may be busy
    while not any((out / "corpus.partial" / "shards").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running.poll() is None, running.communicate()
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all processes of the command
    _, told = running.communicate(timeout=60)
    assert told == "mmkd: stopped; run the same command again to go on\n"
    assert running.returncode in (130, -signal.SIGINT)  # both are 130 to a shell
    assert not (out / "corpus").exists()
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_manifest(out / "corpus")["counts"]["kept"] == 400


def write_pairs(folder: Path) -> None:
    """Twenty tables of twenty pairs; no picture is like another."""
    folder.mkdir()
    for table in range(20):
        lines = []
        for number in range(20 * table, 20 * table + 20):
            Image.effect_noise((300, 300), 90).save(folder / f"{number}.png")
            lines.append(json.dumps({"image": f"{number}.png", "caption": f"chest x-ray number {number} of a patient"}))
        (folder / f"part-{table:02d}.jsonl").write_text("\n".join(lines) + "\n")


def test_the_log_is_no_part_of_what_is_compared(finished_run: Finished) -> None:
    manifest = read_manifest(finished_run[0].parent / "run" / "export")
    assert not {"wall_s", "peak_memory_mb"} & set(manifest)
    listed = json.loads((finished_run[0].parent / "run" / "pretrain" / "files.json").read_text())
    assert "open_clip_model.safetensors" in listed
    assert not set(listed) & {"metrics.jsonl", "log.json", MANIFEST}
