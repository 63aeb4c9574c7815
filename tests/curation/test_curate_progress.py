"""Every long step of curation says how far it is, also in the middle of a part."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from corpus_samples import png, run, write_tar

from mmkd import progress
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shards import FilteredShard, Hands, filter_shards
from mmkd.curation.sources.kinds import open_source
from mmkd.executors.local import LocalExecutor
from mmkd.processes import PROCESSED
from mmkd.report.curation import write_ledger


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_an_item_that_takes_long_shows_what_is_seen_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.01)
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    seen = 100  # by somebody else, before

    def made() -> Iterator[None]:
        nonlocal seen
        seen += 7
        wait_for(lambda: any(line.startswith("  curate: 3 of 5 shards, 7 records, ") for line in said))
        assert all(line.endswith("/s") for line in said)  # no part is done of which to tell how long one takes
        yield
        seen += 4
        wait_for(lambda: any(line.startswith("  curate: 4 of 5 shards, 11 records, ") for line in said))
        assert said[-1].endswith(" s left")

    progress.counted(made(), "curate", total=5, unit="shards", seen=lambda: seen, inner="records", done=3)
    told = len(said)
    time.sleep(0.05)
    assert len(said) == told  # nothing is said afterwards


@pytest.mark.parametrize("workers", [1, 2])
def test_every_record_is_counted_in_whatever_process_it_is_read(tmp_path: Path, workers: int) -> None:
    (tmp_path / "tars").mkdir()
    for tar in range(3):
        members = [(f"{place}.txt", b"a caption without its image") for place in range(30 + tar)]
        write_tar(tmp_path / f"tars/{tar}.tar", members)
    source = {"kind": "webdataset", "name": "w", "path": tmp_path / "tars"}
    settings = CurateSettings.model_validate({"sources": [source]})
    shards = open_source(settings.sources[0]).shards()
    filtered = [FilteredShard(number, shard, tmp_path) for number, shard in enumerate(shards)]
    before = PROCESSED.total()
    hands = Hands(LocalExecutor(), workers, tmp_path / "corpus")
    filter_shards(filtered, settings, hands)
    assert PROCESSED.total() - before == 30 + 31 + 32
    filter_shards(filtered, settings, hands)  # all are there
    assert PROCESSED.total() - before == 93


def test_steps_after_the_filters_print_their_rate_and_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    (tmp_path / "tars").mkdir()
    for tar in range(2):
        pair = [("a.png", png(tar)), ("a.txt", f"finding {tar}".encode())]
        write_tar(tmp_path / f"tars/{tar}.tar", pair)
    source = {"kind": "webdataset", "name": "w", "path": tmp_path / "tars"}
    run(CurateSettings.model_validate({"sources": [source], "shard_rows": 1}), tmp_path / "out")
    write_ledger(tmp_path / "out", "corpus")
    said = capsys.readouterr().out.splitlines()
    steps = {
        "look for duplicates": "1 of 2 shards",
        "list rejections": "1 of 2 shards",
        "write the corpus": "1 of 2 shards",
        "ledger: rows": "1 of 2 shards",
        "ledger: counts": "1 of 2 shards",
    }
    for step, how_far in steps.items():
        (line,) = [line for line in said if line.startswith(f"  {step}: {how_far}, ")]
        assert line.endswith(" s left")
