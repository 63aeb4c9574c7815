import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from corpus_samples import HERE, TABLE_RECIPE, many, png, run, settings_for, shard_digests, table

from mmkd.corpus.schema import Corpus
from mmkd.curation.curate import curate
from mmkd.curation.settings.curate import CurateSettings
from mmkd.folders.arrow import BATCH_ROWS, read_shard
from mmkd.folders.stage import read_log
from mmkd.settings import Machine
from mmkd.tables import text as text_tables
from worker_deaths import killing


@pytest.fixture(scope="module")
def long_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,300 rows, every 13th of them bad, so that batches and shards do not fall together."""
    folder = tmp_path_factory.mktemp("long")
    rows = [{"image": f"{i % 13}.png", "caption": f"finding {i}"} for i in range(1300)]
    return table(folder, rows, {f"{i}.png": png(i) for i in range(12)})


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 300)


@pytest.mark.usefixtures("small_shards")
def test_the_bytes_do_not_depend_on_workers(tmp_path: Path, long_table: Path) -> None:
    settings = settings_for(long_table, shard_rows=500)
    one = run(settings, tmp_path / "one")
    run(settings, tmp_path / "two", Machine(workers=2))
    assert shard_digests(tmp_path / "one") == shard_digests(tmp_path / "two")
    assert one.digest == Corpus(tmp_path / "two").digest
    assert list(shard_digests(tmp_path / "one")) == [f"data-{i:05d}-of-00003.arrow" for i in range(3)]
    sizes = [
        [len(batch) for batch in read_shard(tmp_path / "one" / name).to_batches()] for name in shard_digests(one.folder)
    ]
    assert sizes == [[BATCH_ROWS, 500 - BATCH_ROWS]] * 2 + [[200]]
    assert [row["caption"] for row in one.take(range(14)).to_pylist()][11:] == [
        "finding 11",
        "finding 13",
        "finding 14",
    ]
    assert not (one.folder / "shards").exists()


@pytest.mark.usefixtures("small_shards")
def test_finished_shards_are_not_filtered_again(
    tmp_path: Path, long_table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(long_table, shard_rows=500)
    run(settings, tmp_path / "whole")
    made: list[int] = []

    def stops_at_the_third(shard: object, settings: CurateSettings) -> None:
        made.append(shard.number)  # type: ignore[attr-defined]
        if len(made) == 3:
            raise KeyboardInterrupt
        filter_shard(shard, settings)  # type: ignore[arg-type]

    from mmkd.curation.shards import filter_shard

    monkeypatch.setattr("mmkd.curation.shards.filter_shard", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(settings, tmp_path / "cut")
    run(settings, tmp_path / "cut")
    assert made == [0, 1, 2, 2, 3, 4]
    assert shard_digests(tmp_path / "cut") == shard_digests(tmp_path / "whole")


def test_a_run_killed_after_its_funnel_only_tidies_up(tmp_path: Path) -> None:
    settings = settings_for(many(tmp_path, 3))
    (tmp_path / "p").mkdir()
    counts = curate(settings, tmp_path / "p", HERE, seed=7)
    (tmp_path / "p/shards").mkdir()
    (tmp_path / "pairs.jsonl").unlink()
    assert curate(settings, tmp_path / "p", HERE, seed=7) == counts
    assert not (tmp_path / "p/shards").exists()


RUN = """
import os, sys

if __name__ == "__main__":  # workers import this file too
    from pathlib import Path
    import datasets, torch, mmkd.curation.curate, mmkd.evaluation.leakage.decontamination_images, mmkd.report.curation
    from mmkd.commands.options import open_run
    from mmkd.tables import text as text_tables
    from mmkd.pipeline.table import STAGES

    text_tables.ROWS_PER_SHARD = 50
    for asked in sys.stdin:  # a process for each, which need not import again
        workers, _, out = asked.strip().partition(" ")
        process = os.fork()
        if not process:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            STAGES["curate"].work(open_run(Path(sys.argv[1]), Path(out), [f"machine.workers={workers}"]))
            os._exit(0)
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""
KILLS = 10


def processes_below(pid: int) -> list[int]:
    """The process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    below = [int(child) for child in children.read_text().split()] if children.exists() else []
    return [pid, *(process for child in below for process in processes_below(child))]


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def curated(runs: "subprocess.Popen[str]", out: Path, kill_after_s: float = 3600, workers: int = 0) -> bool:
    """Curate in a process of its own, which is killed, and its workers with it, so long after it began its stage;
    whether it came to its end before."""
    assert runs.stdin is not None
    assert runs.stdout is not None
    print(workers, out, file=runs.stdin, flush=True)
    process = int(runs.stdout.readline())
    until(lambda: (out / "corpus.partial/begun.json").is_file() or not is_running(process))
    deadline = time.monotonic() + kill_after_s
    while time.monotonic() < deadline and is_running(process):
        time.sleep(0.005)
    family = processes_below(process)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    code = int(runs.stdout.readline())
    until(lambda: not any(is_running(pid) for pid in family))  # workers end with their parent
    assert code in (0, -signal.SIGKILL), "a run that goes on does not fail"
    return code == 0


def published(folder: Path) -> dict[str, str]:
    """File -> digest of all that a curation leaves, its ledger among it; the log has times."""
    files = {path.name: path for path in folder.iterdir() if path.name != "log.json"}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to see worker processes")
def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """Ten kills, each of a live run, at moments spread over all that a run does; a new folder for each that ends."""
    rows = [{"image": f"{i % 10}.png", "caption": f"finding {i}"} for i in range(300)]
    table(tmp_path, rows, {f"{i}.png": png(i, 120, 120) for i in range(10)})
    (tmp_path / "script.py").write_text(RUN)
    (tmp_path / "r.toml").write_text(TABLE_RECIPE.format(path="pairs.jsonl", curate="shard_rows = 100"))
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "r.toml")]
    delays, kills, ended = np.random.default_rng(0), 0, 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as runs:
        assert curated(runs, tmp_path / "undisturbed")
        whole_s = float(read_log(tmp_path / "undisturbed/corpus")["wall_s"])
        for _ in range(5 * KILLS):
            if curated(runs, tmp_path / f"{ended}", delays.uniform(0, whole_s), workers=2 * (kills % 3 == 0)):
                ended += 1
            else:
                kills += 1
            if kills == KILLS:
                break
        assert kills == KILLS
        assert curated(runs, tmp_path / f"{ended}")
    wanted = published(tmp_path / "undisturbed/corpus")
    assert {"curation.html", "curation.parquet", "funnel.json", "rejected.parquet"} < set(wanted)
    for name in range(ended + 1):
        assert published(tmp_path / f"{name}/corpus") == wanted
        assert Corpus(tmp_path / f"{name}/corpus").digest == Corpus(tmp_path / "undisturbed/corpus").digest


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(2, 2), (8, 0)])
def test_any_number_of_workers_makes_the_same_bytes_also_where_some_are_killed(
    workers: int, kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 2)
    settings = settings_for(many(tmp_path, 24))
    run(settings, tmp_path / "one", Machine(workers=1))
    with killing(tmp_path / ".units", kills) as killed:
        run(settings, tmp_path / "many", Machine(workers=workers))
    assert len(killed) == kills
    assert published(tmp_path / "many") == published(tmp_path / "one")
    assert not (tmp_path / ".units").exists()
