"""What a second curation reads again, and what it does not; processes that share the shards."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import (
    HERE,
    encoded,
    many,
    noise,
    png,
    run,
    settings_for,
    shard_digests,
    table,
    write_files,
    write_tar,
)

import mmkd
from mmkd.corpus.schema import Corpus
from mmkd.curation.curate import corpus_stage, curate
from mmkd.curation.rejected_examples import rejected_examples
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.selection import CaptionSettings
from mmkd.curation.shard_cache import CODE, DECIDED_LATER, cache_shard, code_digest, tables
from mmkd.curation.shards import FilteredShard, filter_shard
from mmkd.curation.sources import tables as tables_of_pairs
from mmkd.distributed import T, World
from mmkd.errors import ConfigError
from mmkd.folders.stage import complete
from mmkd.renamed import with_new_names
from mmkd.tables import text as text_tables


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the records of shards that are read come from, in order."""
    names: list[str] = []

    def noting(
        make: Callable[[FilteredShard, CurateSettings], int], shard: FilteredShard, settings: CurateSettings
    ) -> int:
        names.extend(record.where for record in shard.shard.records())
        return make(shard, settings)

    monkeypatch.setattr("mmkd.curation.shards.filter_shard", partial(noting, filter_shard))
    monkeypatch.setattr("mmkd.curation.shard_cache.cache_shard", partial(noting, cache_shard))
    return names


def tars(folder: Path, names: str) -> Path:
    for name in names:
        pairs = [(f"{name}{k}.png", png(ord(name) + k)) for k in range(2)]
        texts = [(f"{name}{k}.txt", f"finding {name}{k}".encode()) for k in range(2)]
        write_tar(folder / f"{name}.tar", sorted(pairs + texts))
    return folder


def again(out: Path, sources: list[dict[str, object]], **options: object) -> Corpus:
    settings = CurateSettings.model_validate({"sources": sources, "cache_shards": True, **options})
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
    again(tmp_path / "out", [first], val=0.5, shard_rows=2, duplicates={"near": "drop"}, filters={"min_words": 2})
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
    again(tmp_path / "out", [other, first], max_side=500)
    assert len(made) == 12  # a setting by which pictures are stored: everything
    fresh = CurateSettings.model_validate({"sources": [other, first]})
    assert shard_digests(run(fresh, tmp_path / "fresh").folder) == shard_digests(corpus.folder)


def test_another_decoder_reads_everything_anew(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source: dict[str, object] = {"kind": "table", "name": "t", "path": many(tmp_path, 3)}
    again(tmp_path / "out", [source])
    made.clear()
    again(tmp_path / "out", [source], val=0.5)
    assert made == []
    monkeypatch.setattr("mmkd.curation.shard_cache.code_digest", lambda: "of other code")
    again(tmp_path / "out", [source], val=0.6)
    assert made == [f"pairs.jsonl:{row}" for row in range(3)]


def test_the_code_of_the_cache_is_all_that_reads_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = code_digest()
    package = Path(mmkd.__file__).parent
    for name in CODE:
        shutil.copytree(package / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(mmkd, "__file__", str(tmp_path / "__init__.py"))
    assert code_digest() == whole
    for name in ("images/decode.py", "curation/sources/webdataset.py", "tables/text.py"):
        before = code_digest()
        with (tmp_path / name).open("a") as stream:
            stream.write("\n")
        assert code_digest() != before


def plot() -> bytes:
    """Black axes on white."""
    image = np.full((90, 120, 3), 255, np.uint8)
    image[80:82, 10:110] = image[5:82, 10:12] = 0
    return encoded(image)


def mixed(folder: Path) -> Path:
    """A table with records that each filter, and nothing else, keeps out; compound and damaged ones among them."""
    panels = np.full((60, 130, 3), 255, np.uint8)
    panels[:, :60], panels[:, 70:] = noise(1, 60, 60) // 2 + 40, 90
    images = {"two.png": encoded(panels), "plot.png": plot(), "wide.png": png(3, 20, 90), "broken.png": png(4)[:80]}
    images |= {f"{i}.png": png(10 + i) for i in range(3)} | {"tiny.png": png(5, 8, 8)}
    two = "Figure 2. Brain. (a) Axial CT. (b) T2-weighted MRI."
    told: list[tuple[str, str, dict[str, object]]] = [
        ("0.png", "Axial CT of the liver", {"licence": "CC BY 4.0", "labels": ["x-ray", "plot"]}),
        ("two.png", two, {"mention": "As <b>Figure 2</b> shows"}),
        ("two.png", two, {"licence": "CC BY-NC"}),
        ("two.png", "(a) CT. (b) MRI. (c) PET.", {"licence": "CC BY"}),
        ("plot.png", "How they fared in the end, and when", {}),
        ("1.png", "Kaplan-Meier curves of survival", {"labels": ["plot; of a kind", "ct"], "modality": "CT"}),
        ("wide.png", "Radiografía de tórax que muestra una opacidad en el pulmón", {}),
        ("broken.png", "Kaplan-Meier curves", {}),
        ("broken.png", "(a) Kaplan-Meier curves. (b) A scan.", {}),
        ("tiny.png", "A picture that is too small", {}),
        ("2.png", "ab", {}),
        ("2.png", "See text for details", {"group": "\ud800"}),
        ("2.png", "See text for details", {}),
        ("gone.png", "not there", {}),
    ]
    rows = [
        {"id": f"r{n}", "image": image, "caption": caption, **more} for n, (image, caption, more) in enumerate(told)
    ]
    return table(folder, rows, images)


CHOICES: tuple[dict[str, dict[str, object]], ...] = (
    {},
    {"modality": {"by": "evidence", "min_confidence": 0.8}},
    {"modality": {"by": "evidence", "names": "fine"}, "captions": {"language": "tag"}},
    {"filters": {"licences": ["permissive", "unknown"]}, "captions": {"mention": False}},
    {"filters": {"languages": ["en"], "content": True}},
    {"filters": {"min_words": 3, "max_words": 6}},
    {"filters": {"nonclinical": ["labels", "caption", "image"], "max_aspect": 4, "min_contrast": 3}},
    {"filters": {"nonclinical": ["image"], "max_paper": 1.0}},
)


@pytest.mark.parametrize("panels", ["keep", "split", "split_or_drop", "drop"])
def test_a_corpus_from_cached_shards_is_that_of_a_run_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, panels: str
) -> None:
    source: dict[str, object] = {
        "kind": "table",
        "name": "t",
        "path": mixed(tmp_path),
        "columns": {"labels": "labels", "mention": "mention"},
    }
    chosen = [
        {**choice, "panels": panels, "captions": {"references": "strip", **choice.get("captions", {})}}
        for choice in CHOICES
    ]
    fresh = [
        run(CurateSettings.model_validate({"sources": [source], "max_rejected": 0.95, **options}), tmp_path / str(n))
        for n, options in enumerate(chosen)
    ]
    for options, expected in zip(chosen, [corpus.folder for corpus in fresh], strict=True):
        kept = again(tmp_path / "out", [source], max_rejected=0.95, **options).folder
        assert shard_digests(kept) == shard_digests(expected)
        assert pq.read_table(kept / "rejected.parquet").equals(pq.read_table(expected / "rejected.parquet"))
        assert json.loads((kept / "funnel.json").read_text()) == json.loads((expected / "funnel.json").read_text())
        shown, wanted = ({one.id for one in rejected_examples(folder)} for folder in (kept, expected))
        assert shown == wanted
        monkeypatch.setattr(tables_of_pairs.TableShard, "records", None)  # read once, for all that follow


def test_a_changed_table_of_facts_is_an_input_and_reads_shards_anew(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source: dict[str, object] = {"kind": "table", "name": "t", "path": many(tmp_path, 3)}
    again(tmp_path / "out", [source])
    facts = ("modalities.toml", "captions/drawn.toml", "captions/languages.toml", "dicom_terms.toml")
    assert set(tables()) == {f"mmkd/{name}" for name in facts}
    changed = {**tables(), "mmkd/modalities.toml": "0" * 64}
    monkeypatch.setattr("mmkd.curation.shard_cache.tables", lambda: changed)
    monkeypatch.setattr("mmkd.curation.curate.tables", lambda: changed)
    settings = CurateSettings.model_validate({"sources": [source], "cache_shards": True})
    stage = corpus_stage(tmp_path / "out", settings, settings.model_dump(mode="json"), 7)
    with pytest.raises(ConfigError, match=r"inputs.mmkd/modalities.toml"):
        complete(stage, lambda partial: {}, force=False)
    made.clear()
    again(tmp_path / "out", [source])
    assert len(made) == 3


def test_cached_shards_that_are_not_needed_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    source: dict[str, object] = {"kind": "webdataset", "name": "w", "path": tars(tmp_path / "tars", "ab")}
    again(tmp_path / "out", [source])
    (tmp_path / "out.cache/left.over.draft").write_bytes(b"of a run that was killed")
    before = {path.name for path in (tmp_path / "out.cache").iterdir()}
    assert len(before) == 3
    (tmp_path / "tars/a.tar").unlink()
    again(tmp_path / "out", [source])
    after = {path.name for path in (tmp_path / "out.cache").iterdir()}
    assert len(after) == 1
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


def test_recipes_with_the_old_names_are_read() -> None:
    old = {"curate": {"keep_parts": True}, "evidence": {"alike": {"teacher": "eye"}}}
    assert with_new_names(old) == {
        "curate": {"cache_shards": True},
        "evidence": {"near_duplicates": {"teacher": "eye"}},
    }


def test_every_setting_is_one_of_the_check_unless_it_is_named() -> None:
    """A new setting must be put on one side or the other, or cached shards would be used that it changes."""
    read = {"min_side", "max_side", "max_pixels", "min_caption", "panels", "wrong_captions", "drop_captions"}
    assert set(CurateSettings.model_fields) == read | set(DECIDED_LATER)
    assert set(CaptionSettings.model_fields) == {"references"} | set(DECIDED_LATER["captions"])


class Here(World):
    """One of several processes, whose others are called one after the other."""

    def wait(self) -> None:
        """Nobody to wait for."""

    def agree(self, value: T) -> T:
        return value


def test_no_shard_is_made_by_two_processes_and_the_first_writes_the_same_bytes(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 2)
    rows = [{"image": f"{i}.png", "caption": f"finding {i}"} for i in range(9)]
    settings = settings_for(table(tmp_path, rows, {f"{i}.png": png(i) for i in range(9)}))
    run(settings, tmp_path / "alone")
    made.clear()
    (tmp_path / "shared").mkdir()
    assert curate(settings, tmp_path / "shared", HERE, 7, world=Here(rank=1, size=2)) == {}
    assert sorted(made) == [f"pairs.jsonl:{row}" for row in range(9)]  # whoever is free takes the next shard
    counts = curate(settings, tmp_path / "shared", HERE, 7, world=Here(rank=0, size=2))
    assert counts["kept"] == 9
    assert len(made) == 9
    assert shard_digests(tmp_path / "shared") == shard_digests(tmp_path / "alone")
