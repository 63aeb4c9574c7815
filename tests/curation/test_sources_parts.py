"""A folder per class: groups from a table, parts that share no group, captions that are wrong on purpose."""

import os
from collections import Counter
from pathlib import Path

import pytest
from corpus_samples import everything, png, records, write_files
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmkd.curation.curate import corpus_stage, curate
from mmkd.curation.ledger.funnel import noted
from mmkd.curation.records.record import Excluded, Noted
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.parts import PartOfGroups
from mmkd.curation.settings.sources import FoldersSource
from mmkd.curation.sources import folders
from mmkd.curation.sources.folders import FoldersReader
from mmkd.curation.sources.names import named_sources
from mmkd.curation.sources.wrong_captions import DRAWN
from mmkd.errors import ConfigError, DataError
from mmkd.settings import Machine

CLASSES = ("ant", "bee", "cat", "dog")
PATIENTS, PICTURES = 60, 600


def source(path: Path, **options: object) -> FoldersSource:
    return FoldersSource.model_validate({"kind": "folders", "name": "f", "path": path, **options})


def reader(path: Path, **options: object) -> FoldersReader:
    return FoldersReader(source(path, **options))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 pictures of four classes and 60 patients, the pictures of a patient in all classes; `items.csv` beside."""
    folder = tmp_path_factory.mktemp("parts")
    names = [f"train/{CLASSES[i % 4]}/{i:04d}.png" for i in range(PICTURES)]
    write_files(folder, {name: png(i, 16, 16) for i, name in enumerate(names)})
    rows = [f"{name},p{i % PATIENTS:02d}" for i, name in enumerate(names)]
    (folder / "items.csv").write_text("\n".join(["path,group", *rows, "test/ant/none.png,q"]) + "\n")
    return folder


def grouped(home: Path, **options: object) -> FoldersReader:
    return reader(home / "train", groups=home / "items.csv", **options)


def test_groups_are_those_of_the_table(home: Path) -> None:
    found = records(grouped(home).shards())
    assert len(found) == PICTURES
    assert {r.group for r in found} == {f"p{i:02d}" for i in range(PATIENTS)}
    assert all(r.group == f"p{int(Path(r.id).stem) % PATIENTS:02d}" for r in found)


def test_no_group_is_in_two_parts_and_all_parts_are_everything(home: Path) -> None:
    parts = [records(grouped(home, part={"of": 3, "take": [i]}).shards()) for i in range(3)]
    groups = [{r.group for r in part} for part in parts]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups)) == PATIENTS
    assert sum(map(len, parts)) == PICTURES
    both = records(grouped(home, part={"of": 3, "take": [0, 2]}).shards())
    assert {r.id for r in both} == {r.id for part in (parts[0], parts[2]) for r in part}


def test_what_is_in_another_part_is_counted_and_not_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = folders.read_inside
    monkeypatch.setattr(folders, "read_inside", lambda *args: (read.append(args[1]), real(*args))[1])
    found = [item for shard in grouped(home, part={"of": 3, "take": [1]}).shards() for item in shard.records()]
    excluded = sum(item.records for item in found if isinstance(item, Excluded))
    assert 0 < len(read) == PICTURES - excluded < PICTURES


@given(st.lists(st.text(min_size=1), min_size=1, max_size=40), st.integers(2, 7))
def test_every_group_is_in_exactly_one_part(groups: list[str], of: int) -> None:
    parts = [PartOfGroups(of=of, take=[number]) for number in range(of)]
    assert all(sum(part.has(group) for part in parts) == 1 for group in groups)


def test_parts_are_about_equal() -> None:
    part = PartOfGroups(of=4, take=[3])
    assert sum(part.has(f"patient {i}") for i in range(4000)) == pytest.approx(1000, abs=4 * (4000 * 3 / 16) ** 0.5)


def test_a_pattern_makes_the_groups_of_a_part_too(home: Path) -> None:
    parts = [
        records(reader(home / "train", group="([0-9])[.]png$", part={"of": 2, "take": [i]}).shards()) for i in (0, 1)
    ]
    digits = [{r.group for r in part} for part in parts]
    assert sum(map(len, digits)) == len(digits[0] | digits[1]) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": {"of": 3, "take": [0]}}, "nothing says what they are; give groups"),
        ({"group": "(.)", "groups": "items.csv"}, "give either groups"),
        ({"group": "(.)", "part": {"of": 1, "take": [0]}}, "greater than or equal to 2"),
        ({"group": "(.)", "part": {"of": 3, "take": [3]}}, r"take names \[3\], but 3 parts are counted from 0 to 2"),
        ({"group": "(.)", "part": {"of": 3, "take": [1, 1]}}, "names a part twice"),
        ({"group": "(.)", "part": {"of": 3, "take": []}}, "at least 1 item"),
        ({"wrong_captions": 1.5}, "less than or equal to 1"),
    ],
)
def test_keys_that_contradict_are_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        source(tmp_path, **options)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path,group\ntrain/ant/0000.png,p\n", "names no group for 599 pictures of .*such as ant/0004.png"),
        ("path,patient\ntrain/ant/0000.png,p\n", "column 'group' is missing; found: path, patient"),
        ("path,group\ntrain/ant/0000.png,\n", "column 'group' is empty"),
        ("path,group\n../ant/0000.png,p\n", "leads outside"),
        ("path,group\ntrain/ant/0000.png,p\ntrain/ant/0000.png,q\n", "is in group 'q', and in 'p' by an earlier row"),
    ],
)
def test_a_table_of_groups_that_does_not_fit_is_refused(home: Path, table: str, message: str) -> None:
    path = home / "other.csv"
    path.write_text(table)
    with pytest.raises(DataError, match=message):
        reader(home / "train", groups=path).shards()


def test_a_table_of_groups_that_is_missing_is_refused(home: Path) -> None:
    with pytest.raises(DataError, match="no such table; correct `groups`"):
        reader(home / "train", groups=home / "gone.csv").shards()


def test_another_table_of_groups_is_another_source(home: Path) -> None:
    before = grouped(home).fingerprint()
    assert grouped(home).fingerprint() == before != reader(home / "train").fingerprint()
    [shard] = grouped(home).shards()
    stamp = shard.fingerprint()  # type: ignore[attr-defined]
    os.utime(home / "items.csv", ns=(1, 1))
    assert grouped(home).fingerprint() != before
    assert shard.fingerprint() != stamp  # type: ignore[attr-defined]


def test_the_share_of_wrong_captions_is_right_and_every_class_is_drawn(home: Path) -> None:
    found = [item for shard in reader(home / "train", wrong_captions=0.4).shards() for item in shard.records()]
    drawn = sum(item.files for item in found if isinstance(item, Noted) and item.what == DRAWN)
    assert drawn == pytest.approx(0.4 * PICTURES, abs=4 * (PICTURES * 0.24) ** 0.5)
    pairs = [(r.id.split("/")[1], r.caption) for r in records(reader(home / "train", wrong_captions=0.4).shards())]
    wrong = [said for true, said in pairs if said != true]
    assert len(wrong) == pytest.approx(0.75 * drawn, abs=4 * (drawn * 0.1875) ** 0.5)  # a quarter is right by chance
    assert min(Counter(wrong).values()) > len(wrong) / 8
    assert set(wrong) == set(CLASSES)


def test_wrong_captions_are_drawn_by_name_and_seed_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def captions(**options: object) -> dict[str, str | bytes]:
        return {r.id: r.caption for r in records(reader(home / "train", wrong_captions=0.4, **options).shards())}

    whole = captions()
    assert captions() == whole != captions(wrong_captions_seed=1)
    few = captions(group="([0-9])[.]png$", part={"of": 2, "take": [0]})
    assert few.items() < whole.items()
    monkeypatch.setattr(folders, "ROWS_PER_SHARD", 100)
    assert captions() == whole


def test_a_share_of_wrong_captions_for_all_sources_that_have_none_of_their_own() -> None:
    folders = {"kind": "folders", "path": "/pictures", "licence": "CC0-1.0"}
    table = {"kind": "table", "path": "/pairs.csv", "licence": "CC0-1.0"}
    data = {"wrong_captions": 0.3, "sources": [{**folders, "name": "own", "wrong_captions": 0.1}, folders, table]}
    own, common, _ = named_sources(CurateSettings.model_validate(data))
    assert isinstance(own, FoldersSource)
    assert isinstance(common, FoldersSource)
    assert (own.wrong_captions, common.wrong_captions) == (0.1, 0.3)
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        CurateSettings.model_validate({**data, "wrong_captions": 1.5})


def test_wrong_captions_name_classes_that_include_selects(home: Path) -> None:
    found = records(reader(home / "train", include={"class": ["ant", "bee"]}, wrong_captions=1.0).shards())
    assert {r.caption for r in found} == {"ant", "bee"}


def test_without_the_keys_nothing_changes(home: Path) -> None:
    found = everything(reader(home / "train").shards())
    assert [r.caption for r in found] == [r.id.split("/")[1] for r in found]  # type: ignore[union-attr]
    assert all(r.group == r.id for r in found)  # type: ignore[union-attr]


def test_a_user_is_told_loudly_and_the_ledger_has_the_count(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {"kind": "folders", "name": "f", "path": home / "train", "wrong_captions": 0.4, "modality": "ct"}
    settings = CurateSettings.model_validate({"sources": [table]})
    folder = tmp_path / "corpus.partial"
    folder.mkdir()
    curate(settings, folder, Machine(workers=0), seed=0)
    said = capsys.readouterr().out
    assert "WARNING: wrong_captions: captions name a class drawn at random (source, share: f 40%). This is" in said
    count = noted(folder)["f"][DRAWN]
    assert f"WARNING: f: {count:,} of 600 captions name a class drawn at random" in said


def test_a_part_without_records_is_said(home: Path, tmp_path: Path) -> None:
    only = {"kind": "folders", "name": "f", "path": home / "train", "group": "(png)", "part": {"of": 2, "take": [0]}}
    if PartOfGroups(of=2, take=[0]).has("png"):
        only["part"] = {"of": 2, "take": [1]}
    settings = CurateSettings.model_validate({"sources": [only]})
    folder = tmp_path / "corpus.partial"
    folder.mkdir()
    with pytest.raises(DataError, match=r"and part = \{ of = 2, take = \[.\] \}, which excludes 600"):
        curate(settings, folder, Machine(workers=0), seed=0)
    assert corpus_stage(tmp_path / "corpus", settings, {}, 0).kind == "corpus"
    with pytest.raises(ConfigError, match="include selects by"):
        reader(home / "train", include={"colour": ["red"]}).shards()
