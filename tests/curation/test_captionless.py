"""Pictures without captions: which sources keep them, what filters and duplicates make of them; dropped captions."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_samples import (
    encoded,
    many,
    noise,
    png,
    reasons,
    records,
    run,
    settings_for,
    shard_digests,
    table,
    write_files,
    write_tar,
)
from pydantic import ValidationError
from typer.testing import CliRunner

from mmkd.cli import app
from mmkd.corpus.schema import Corpus
from mmkd.curation.curate import corpus_stage
from mmkd.curation.ledger.statistics import corpus_statistics
from mmkd.curation.ledger.tally import Repeats
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import FoldersSource, NiftiSource, TableSource, WebDatasetSource
from mmkd.curation.sources.folders import FoldersReader
from mmkd.curation.sources.names import named_sources
from mmkd.curation.sources.nifti import NiftiReader
from mmkd.curation.sources.tables import TableReader
from mmkd.curation.sources.webdataset import WebDatasetReader
from mmkd.errors import DataError
from mmkd.folders.stage import read_manifest
from mmkd.report.curation import PAGE, write_ledger


def of_table(path: Path, **options: Any) -> TableReader:
    return TableReader(TableSource.model_validate({"kind": "table", "name": "t", "path": path, **options}))


def of_folder(path: Path, **options: Any) -> FoldersReader:
    return FoldersReader(FoldersSource.model_validate({"kind": "folders", "name": "f", "path": path, **options}))


def half_told(folder: Path, count: int = 8) -> Path:
    """A table of distinct pictures, four to a group, of which each second one has no caption."""
    rows = [
        {"id": f"r{i}", "image": f"{i}.png", "caption": f"finding {i // 4}" if i % 2 else "", "group": f"g{i // 4}"}
        for i in range(count)
    ]
    return table(folder, rows, {f"{i}.png": png(i) for i in range(count)})


def keeping(path: Path, **options: Any) -> CurateSettings:
    source = {"kind": "table", "name": "t", "path": path, "captionless": "keep"}
    return CurateSettings.model_validate({"sources": [source], **options})


def test_rows_without_a_caption_are_rejected_unless_the_source_keeps_them(tmp_path: Path) -> None:
    write_files(tmp_path, {f"{i}.png": png(i) for i in range(4)})
    rows = [{"image": "0.png", "caption": None}, {"image": "1.png"}, {"image": "2.png", "caption": "<p> </p>"}]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"image": "3.png", "caption": "a cyst"}]))
    assert [reason for _, reason in reasons(of_table(path).shards())] == ["missing_field"] * 2
    kept = records(of_table(path, captionless="keep").shards())
    assert [record.caption for record in kept] == ["", "", "<p> </p>", "a cyst"]
    assert Corpus(run(keeping(path), tmp_path / "corpus").folder).column("caption") == ["", "", "", "a cyst"]


def test_words_for_a_missing_caption_are_none_and_another_column_stands_in(tmp_path: Path) -> None:
    files = {f"{i}.png": png(i) for i in range(4)}
    path = tmp_path / "pairs.csv"
    write_files(tmp_path, {**files, "pairs.csv": b"image,caption,more\n0.png,nan,a cyst\n1.png,---,N/A\n2.png,None,\n"})
    both = {"columns": {"caption": ["caption", "more"]}}
    assert reasons(of_table(path).shards()) == [(f"pairs.csv:{i}", "missing_field") for i in range(3)]
    assert [one.caption for one in records(of_table(path, captionless="keep").shards())] == ["", "", ""]
    assert [one.caption for one in records(of_table(path, **both).shards())] == ["a cyst"]
    tar = write_tar(tmp_path / "x.tar", [("k.png", png(1)), ("k.txt", b"NaN"), ("m.png", png(2)), ("m.json", b"{}")])
    source = {"kind": "webdataset", "name": "w", "path": tar}
    shards = WebDatasetReader(WebDatasetSource.model_validate(source)).shards()
    assert [reason for _, reason in reasons(shards)] == ["missing_field"] * 2


def test_a_list_of_captions_in_a_csv_cell_is_a_list(tmp_path: Path) -> None:
    cell = b'"[""first"", ""second""]"'
    path = write_files(tmp_path, {"a.png": png(1), "pairs.csv": b"image,caption\na.png," + cell + b"\n"}) / "pairs.csv"
    assert reasons(of_table(path).shards()) == [("pairs.csv:0", "unreadable_row")]
    found = records(of_table(path, captions="all").shards())
    assert [(one.id, one.caption, one.group) for one in found] == [
        ("t_00000000/0", "first", "t_00000000"),
        ("t_00000000/1", "second", "t_00000000"),
    ]


def test_a_table_of_pictures_alone_needs_no_caption_column(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": png(1), "pictures.csv": b"image\na.png\n"})
    found = records(of_table(tmp_path / "pictures.csv", captionless="keep").shards())
    assert [(record.id, record.caption) for record in found] == [("t_00000000", "")]


def test_a_report_without_the_sections_asked_for_is_no_caption(tmp_path: Path) -> None:
    rows = [{"image": "a.png", "caption": "HISTORY: pain"}, {"image": "a.png", "caption": "FINDINGS: a cyst"}]
    path = table(tmp_path, rows, {"a.png": png(1)})
    asked = {"sections": ["findings"]}
    assert [reason for _, reason in reasons(of_table(path, **asked).shards())] == ["missing_section"]
    assert [r.caption for r in records(of_table(path, captionless="keep", **asked).shards())] == ["", "a cyst"]


@pytest.mark.parametrize(
    ("listed", "options", "expected"),
    [
        (["a cyst", None], {"captions": "all"}, ["a cyst"]),
        ([None, "a cyst", "  ", "a stone"], {"captions": "all"}, ["a cyst", "a stone"]),
        (["", "a cyst"], {"captions": "first"}, ["a cyst"]),
        ([None, ""], {"captions": "all"}, [""]),
        ([], {"captions": "all"}, [""]),
        (["FINDINGS: a cyst", "IMPRESSION: benign"], {"captions": "all", "sections": ["impression"]}, ["benign"]),
        (["FINDINGS: a cyst", "HISTORY: pain"], {"captions": "all", "sections": ["impression"]}, [""]),
    ],
)
def test_a_list_is_without_a_caption_only_where_no_element_gives_one(
    tmp_path: Path, listed: list[str | None], options: dict[str, Any], expected: list[str]
) -> None:
    write_files(tmp_path, {"a.png": png(1)})
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"image": "a.png", "caption": listed}) + "\n")
    assert [r.caption for r in records(of_table(path, captionless="keep", **options).shards())] == expected


def test_a_list_of_which_nobody_says_what_to_take_is_rejected_all_the_same(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": png(1)})
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"image": "a.png", "caption": ["a cyst", None]}) + "\n")
    assert [reason for _, reason in reasons(of_table(path, captionless="keep").shards())] == ["unreadable_row"]


def test_a_pool_has_a_corpus_under_the_name_of_releases_without_these_keys(tmp_path: Path) -> None:
    path = half_told(tmp_path)

    def name_in_pool(kept: dict[str, Any], settings: CurateSettings) -> str:
        return corpus_stage(tmp_path / "corpus", settings, kept, 0).in_pool(tmp_path).folder.name

    source = {"kind": "table", "name": "t", "path": path}
    unset = CurateSettings.model_validate({"sources": [source]})
    kept = unset.model_dump(mode="json")
    before = {name: value for name, value in kept.items() if name != "drop_captions"}
    before["sources"] = [{name: value for name, value in kept["sources"][0].items() if name != "captionless"}]
    assert before != kept
    stage = corpus_stage(tmp_path / "corpus", unset, kept, 0)
    assert "drop_captions" not in stage.settings
    assert "captionless" not in stage.settings["sources"][0]
    assert name_in_pool(kept, unset) == name_in_pool(before, unset)
    for other in (keeping(path), CurateSettings.model_validate({"sources": [source], "drop_captions": 0.0})):
        assert name_in_pool(other.model_dump(mode="json"), other) != name_in_pool(kept, unset)


def test_a_folder_of_pictures_without_captions(tmp_path: Path) -> None:
    write_files(tmp_path, {name: png(i) for i, name in enumerate(["loose.png", "ward/1.png", "ward/deep/2.png"])})
    found = records(of_folder(tmp_path, captionless="keep", modality="CT", group="^(ward)/").shards())
    assert [(r.id, r.caption, r.group) for r in found] == [
        ("f/loose.png", "", "f/loose.png"),
        ("f/ward/1.png", "", "ward"),
        ("f/ward/deep/2.png", "", "ward"),
    ]
    assert {record.modality for record in found} == {"CT"}
    assert reasons(of_folder(tmp_path, captionless="keep").shards()) == []


@pytest.mark.parametrize("made", [{"templates": ["{name}"]}, {"names": {"a": "b"}}, {"wrong_captions": 0.1}])
def test_what_makes_captions_has_no_effect_on_a_folder_without(tmp_path: Path, made: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"{next(iter(made))} would have no effect"):
        of_folder(tmp_path, captionless="keep", **made)


def test_the_common_share_of_wrong_captions_is_not_of_pictures_without() -> None:
    source = {"kind": "folders", "path": "pictures", "captionless": "keep"}
    settings = CurateSettings.model_validate({"wrong_captions": 0.3, "sources": [source]})
    [named] = named_sources(settings)
    assert isinstance(named, FoldersSource)
    assert named.wrong_captions == 0


def test_samples_of_a_tar_without_text(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("1.png", png(1)), ("2.png", png(2)), ("2.txt", b"a cyst")])
    source = {"kind": "webdataset", "name": "w", "path": tmp_path / "a.tar"}
    assert len(records(WebDatasetReader(WebDatasetSource.model_validate(source)).shards())) == 1
    kept = WebDatasetReader(WebDatasetSource.model_validate({**source, "captionless": "keep"}))
    assert [record.caption for record in records(kept.shards())] == [b"", b"a cyst"]


def test_scans_whose_report_is_missing_or_empty(tmp_path: Path) -> None:
    import nibabel

    for name in ("told", "untold", "empty"):
        values_XYZ = np.random.default_rng(len(name)).random((16, 16, 1)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values_XYZ, np.eye(4)), tmp_path / f"{name}.nii")
    write_files(tmp_path, {"reports.csv": b"name,report\ntold.nii,a cyst\nempty.nii,\n"})
    reports = {"path": tmp_path / "reports.csv", "key": "name"}

    def reader(**options: Any) -> NiftiReader:
        return NiftiReader(NiftiSource.model_validate({"kind": "nifti", "name": "n", "path": tmp_path, **options}))

    assert [r.caption for r in records(reader(reports=reports).shards())] == ["a cyst"]
    kept = {r.where.split(".")[0]: r.caption for r in records(reader(reports=reports, captionless="keep").shards())}
    assert kept == {"told": "a cyst", "untold": "", "empty": ""}
    assert [r.caption for r in records(reader(captionless="keep").shards())] == ["", "", ""]


def test_pictures_without_a_caption_are_counted_and_in_no_statistic_of_captions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = run(keeping(half_told(tmp_path / "data")), tmp_path / "corpus")
    counts, splits = read_manifest(corpus.folder)["counts"], corpus.column("split")
    assert (counts["captionless"], counts["captionless_train"]) == (4, splits[::2].count("train"))
    assert "4 of 8 pictures have no caption" in capsys.readouterr().out
    facts = corpus_statistics(corpus.folder)
    assert facts.captionless == 4
    assert facts.repeats["captions"] == Repeats(2, 2, 4, 2)
    assert facts.repeats["groups"] == Repeats(2, 2, 8, 4)
    assert min(facts.numbers["words"]) == 2
    np.testing.assert_array_equal(corpus.captioned, [False, True] * 4)
    with_captions = run(settings_for(half_told(tmp_path / "data")), tmp_path / "told")
    assert "captionless" not in read_manifest(with_captions.folder)["counts"]


def test_pictures_without_a_caption_are_no_pairs_where_a_corpus_is_shown(tmp_path: Path) -> None:
    corpus = run(keeping(half_told(tmp_path / "data")), tmp_path / "corpus")
    shown = CliRunner().invoke(app, ["corpus", "stats", str(corpus.folder)]).stdout
    assert shown.startswith("4 pairs and 4 pictures without a caption\n")
    assert re.search(r"^ *source +pictures +of all", shown, re.MULTILINE)
    write_ledger(corpus.folder, "half told")
    page = " ".join(re.sub("<[^>]*>", " ", (corpus.folder / PAGE).read_text()).split())
    assert "4 and 4 pictures without a caption of all pictures" in page
    assert "licence pictures of all" in page


def test_words_that_are_not_there_keep_no_picture_out(tmp_path: Path) -> None:
    filters = {"min_words": 2, "content": True, "languages": ["en"], "nonclinical": ["caption"]}
    corpus = run(keeping(half_told(tmp_path / "data"), filters=filters), tmp_path / "corpus")
    assert corpus.column("caption").count("") == 4


@pytest.mark.parametrize("panels", ["split", "drop"])
def test_a_picture_without_a_caption_is_one_piece(tmp_path: Path, panels: str) -> None:
    corpus = run(keeping(half_told(tmp_path / "data"), panels=panels), tmp_path / "corpus")
    assert corpus.column("caption").count("") == 4


def test_two_pictures_without_a_caption_have_no_caption_in_common(tmp_path: Path) -> None:
    near = encoded(np.clip(noise(1).astype(int) + 2, 0, 255).astype(np.uint8))
    rows = [{"id": name, "image": f"{name}.png", "caption": ""} for name in ("a", "near", "same")]
    path = table(tmp_path / "data", rows, {"a.png": png(1), "near.png": near, "same.png": png(1)})
    for choice, expected in (("pair", ["a", "near"]), ("drop", ["a"])):
        corpus = run(keeping(path, duplicates={"near": choice}, max_rejected=1.0), tmp_path / choice)
        assert corpus.column("id") == expected  # equal bytes are one picture in any case


def test_cached_shards_give_the_same_corpus(tmp_path: Path) -> None:
    path = half_told(tmp_path / "data")
    for options in ({}, {"drop_captions": 0.5}):
        plain = run(keeping(path, **options), tmp_path / f"plain{len(options)}")
        cached = run(keeping(path, cache_shards=True, **options), tmp_path / f"cached{len(options)}")
        assert shard_digests(cached.folder) == shard_digests(plain.folder)


def test_dropped_captions_are_a_share_of_all_and_the_others_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = many(tmp_path / "data", 60)
    whole = run(settings_for(path), tmp_path / "whole").column("caption")
    found = {}
    for share in (0.3, 0.7):
        found[share] = run(settings_for(path, drop_captions=share), tmp_path / str(share)).column("caption")
        assert found[share].count("") == pytest.approx(60 * share, abs=10)
        assert f"WARNING: drop_captions: {share:.0%} of all captions are taken away" in capsys.readouterr().out
    pairs = zip(whole, found[0.3], found[0.7], strict=True)
    assert all(few in (caption, "") and much in (few, "") for caption, few, much in pairs)  # more only drops more
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        settings_for(path, drop_captions=1.5)


def test_a_corpus_of_pictures_alone_has_no_pairs(tmp_path: Path) -> None:
    corpus = run(settings_for(many(tmp_path / "data", 12), drop_captions=1.0, val=0.0), tmp_path / "corpus")
    assert len(corpus.rows("train")) == 12
    with pytest.raises(DataError, match="none of the 12 pictures of the split 'train' has a caption"):
        corpus.pairs("train")
