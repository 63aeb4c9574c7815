"""What a second curation reads again, and what it does not; processes that share the parts."""

from pathlib import Path

import pytest
from corpus_samples import HERE, many, png, run, settings_for, shard_digests, table, write_files, write_tar

from mmkd.corpus.curate import corpus_stage, curate
from mmkd.corpus.kept_parts import SELECTING
from mmkd.corpus.parts import Part, write_part
from mmkd.corpus.schema import Corpus
from mmkd.corpus.settings import CurateSettings
from mmkd.corpus.sources import text_tables
from mmkd.distributed import T, World
from mmkd.stage import complete


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the records of parts that are made come from, in order."""
    names: list[str] = []

    def noting(part: Part, settings: CurateSettings) -> int:
        names.extend(record.where for record in part.shard.records())
        return write_part(part, settings)

    monkeypatch.setattr("mmkd.corpus.parts.write_part", noting)
    return names


def tars(folder: Path, names: str) -> Path:
    for name in names:
        pairs = [(f"{name}{k}.png", png(ord(name) + k)) for k in range(2)]
        texts = [(f"{name}{k}.txt", f"finding {name}{k}".encode()) for k in range(2)]
        write_tar(folder / f"{name}.tar", sorted(pairs + texts))
    return folder


def again(out: Path, sources: list[dict[str, object]], **options: object) -> Corpus:
    settings = CurateSettings.model_validate({"sources": sources, "keep_parts": True, **options})
    stage = corpus_stage(out, settings, settings.model_dump(mode="json"), 7)
    complete(stage, lambda partial: curate(settings, partial, HERE, 7), force=True)
    return Corpus(out)


def test_only_what_is_new_is_read(tmp_path: Path, made: list[str]) -> None:
    (tmp_path / "tars").mkdir()
    first: dict[str, object] = {"kind": "webdataset", "name": "w", "path": tars(tmp_path / "tars", "abc")}
    other: dict[str, object] = {"kind": "table", "name": "t", "path": many(tmp_path, 3)}
    again(tmp_path / "out", [first])
    assert made == ["a.tar:a0", "a.tar:a1", "b.tar:b0", "b.tar:b1", "c.tar:c0", "c.tar:c1"]
    made.clear()
    again(tmp_path / "out", [first], val=0.5, shard_rows=2, duplicates={"near": "drop"}, max_rejected=0.9)
    assert made == []  # settings of what is kept
    again(tmp_path / "out", [other, first])
    assert made == [f"pairs.jsonl:{row}" for row in range(3)]
    made.clear()
    tars(tmp_path / "tars", "d")
    changed = [
        (f"b{k}.{kind}", png(70 + k) if kind == "png" else b"changed") for k in range(3) for kind in ("png", "txt")
    ]
    write_tar(tmp_path / "tars/b.tar", changed)
    corpus = again(tmp_path / "out", [other, first])
    assert made == ["b.tar:b0", "b.tar:b1", "b.tar:b2", "d.tar:d0", "d.tar:d1"]
    made.clear()
    again(tmp_path / "out", [other, first], min_caption=4)
    assert len(made) == 12  # a setting of the check: everything
    fresh = CurateSettings.model_validate({"sources": [other, first]})
    assert shard_digests(run(fresh, tmp_path / "fresh").folder) == shard_digests(corpus.folder)


def test_parts_that_no_one_needs_go(tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    source: dict[str, object] = {"kind": "webdataset", "name": "w", "path": tars(tmp_path / "tars", "ab")}
    again(tmp_path / "out", [source])
    (tmp_path / "out.parts/left.over.draft").write_bytes(b"of a run that was killed")
    before = {path.name for path in (tmp_path / "out.parts").iterdir()}
    assert len(before) == 5
    (tmp_path / "tars/a.tar").unlink()
    again(tmp_path / "out", [source])
    after = {path.name for path in (tmp_path / "out.parts").iterdir()}
    assert len(after) == 2
    assert after < before


def test_folders_are_known_by_their_files(tmp_path: Path, made: list[str]) -> None:
    write_files(tmp_path / "x", {"a/1.png": png(1), "b/2.png": png(2)})
    source: dict[str, object] = {"kind": "folders", "path": tmp_path / "x", "templates": ["{name} it is"]}
    again(tmp_path / "out", [source])
    again(tmp_path / "out", [source], val=0.2)
    assert made == ["a/1.png", "b/2.png"]
    write_files(tmp_path / "x", {"b/3.png": png(3)})
    again(tmp_path / "out", [source])
    assert made == ["a/1.png", "b/2.png", "a/1.png", "b/2.png", "b/3.png"]


def test_every_setting_is_one_of_the_check_unless_it_is_named() -> None:
    assert set(CurateSettings.model_fields) >= SELECTING


class Here(World):
    """One of several processes, whose others are called one after the other."""

    def wait(self) -> None:
        """Nobody to wait for."""

    def agree(self, value: T) -> T:
        return value


def test_processes_share_the_parts_and_the_first_writes_the_same_bytes(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 2)
    rows = [{"image": f"{i}.png", "caption": f"finding {i}"} for i in range(9)]
    settings = settings_for(table(tmp_path, rows, {f"{i}.png": png(i) for i in range(9)}))
    run(settings, tmp_path / "alone")
    made.clear()
    (tmp_path / "shared").mkdir()
    assert curate(settings, tmp_path / "shared", HERE, 7, world=Here(rank=1, size=2)) == {}
    assert made == [f"pairs.jsonl:{row}" for row in (2, 3, 6, 7)]
    counts = curate(settings, tmp_path / "shared", HERE, 7, world=Here(rank=0, size=2))
    assert counts["kept"] == 9
    assert len(made) == 9
    assert shard_digests(tmp_path / "shared") == shard_digests(tmp_path / "alone")
