import gzip
import json
import tarfile
from pathlib import Path

import pytest
from corpus_samples import REALDATA, everything, needs_realdata, png, reasons, records, write_tar
from hypothesis import given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext, group_by_keys, tar_file_iterator

from mmkd.curation.settings.sources import WebDatasetSource
from mmkd.curation.sources.tar_samples import NAME, pairs_of, samples
from mmkd.curation.sources.webdataset import WebDatasetReader
from mmkd.errors import DataError
from mmkd.modalities.taxonomy import evaluated_modality, fine_modality_of_labels


def reader(path: Path, **options: object) -> WebDatasetReader:
    return WebDatasetReader(
        WebDatasetSource.model_validate({"kind": "webdataset", "name": "w", "path": path, **options})
    )


def sample(key: str, seed: int = 0, caption: str = "a caption") -> list[tuple[str, bytes]]:
    return [(f"{key}.png", png(seed)), (f"{key}.txt", caption.encode())]


BIOMEDICA = {
    "image_cluster_id": "fig2",
    "image_primary_label": ["Clinical Imaging", "Plots and Charts"],
    "image_secondary_label": ["plot", "computerized tomography"],
    "image_set": [{"image_id": "fig1", "caption": "another"}, {"image_id": "fig2", "caption": "its own"}],
    "article_accession_id": "PMC77",
    "article_license": "CC BY",
    "image_context": {"fig1": ["Of another."], "fig2": ["As Figure 2 shows.", "It grew."]},
}


def test_open_clip_layout(tmp_path: Path) -> None:
    write_tar(tmp_path / "00001.tar", sample("000") + sample("001", 1, "second"))
    write_tar(tmp_path / "sub.tar", sample("000", 2))
    found = records(reader(tmp_path, modality="CT").shards())
    assert [r.id for r in found] == ["w/00001/000", "w/00001/001", "w/sub/000"]
    assert (found[1].image, found[1].caption) == (png(1), b"second")
    assert (found[1].group, found[1].modality, found[1].licence) == ("w/00001/001", "CT", "unknown")
    assert found[1].where == "00001.tar:001"


def test_biomedica_layout(tmp_path: Path) -> None:
    meta = ("b.json", json.dumps(BIOMEDICA).encode())
    path = write_tar(tmp_path / "x.tar", [*sample("b", caption="from txt"), meta])
    (found,) = records(reader(path, modality="MRI").shards())
    assert (found.caption, found.modality, found.group, found.licence) == (b"from txt", "", "PMC77", "CC BY")
    assert found.labels == ("plot", "computerized tomography", "Clinical Imaging", "Plots and Charts")
    assert found.mention == "As Figure 2 shows. It grew."
    (without,) = records(reader(write_tar(tmp_path / "y.tar", [("b.jpg", png()), meta])).shards())
    assert without.caption == "its own"


def test_include_selects_by_the_metadata(tmp_path: Path) -> None:
    members = [("b.json", json.dumps(BIOMEDICA).encode()), *sample("b"), *sample("c")]
    path = write_tar(tmp_path / "x.tar", members)
    include = {"image_primary_label": ["Clinical Imaging"]}
    assert [found.id for found in everything(reader(path, include=include).shards())] == ["w/x/b"]


def test_samples_are_neighbours_that_share_all_up_to_the_first_dot(tmp_path: Path) -> None:
    members = [("d.x/a.png", b"1"), ("d.x/a.meta.json", b"2"), ("d.x/a.npz", b"3"), ("d.x/b.TXT", b"4"), (".dot", b"")]
    path = write_tar(tmp_path / "x.tar", [*members, ("d.x/a.txt", b"5"), ("d.x/a.txt", b"6")])
    with path.open("rb") as stream:
        found = list(samples(stream))
    assert found == [
        ("d.x/a", {"png": b"1", "meta.json": b"2", "npz": b""}),
        ("d.x/b", {"txt": b"4"}),
        ("d.x/a", {"txt": b"5"}),
        ("d.x/a", {"txt": b"6"}),
    ]


NAMES = st.text(alphabet="ab.AB/", min_size=1, max_size=12)


@given(NAMES)
def test_names_are_split_as_webdataset_splits_them(name: str) -> None:
    """But for names that begin with a dot, which are hidden files, and for empty extensions."""
    match, (key, extension) = NAME.fullmatch(name), base_plus_ext(name)
    assert match.groups() == (key, extension) if match else not extension or key.endswith("/")


def test_dotted_names_are_samples(tmp_path: Path) -> None:
    """The keys and extensions of each are those of webdataset's own reader; see issue 237 there."""
    stems = ["0001", "1.2.840.1", "1.2.840.2", "1.2.840.3", "PMC5.fig1"]
    members = [one for number, stem in enumerate(stems) for one in sample(stem, number, f"of {stem}")]
    members += [("0002.image.png", png(9)), ("0002.caption.txt", b"of 0002"), ("0002.json", b'{"group": "g"}')]
    path = write_tar(tmp_path / "x.tar", members)
    with path.open("rb") as stream:
        theirs = group_by_keys({**one, "__url__": ""} for one in tar_file_iterator(stream))
        keys = [(one["__key__"], sorted(name for name in one if not name.startswith("__"))) for one in theirs]
        stream.seek(0)
        assert [(key, sorted(files)) for key, files in samples(stream)] == keys
    found = records(reader(path).shards())
    assert [(one.id, one.image, one.caption) for one in found] == [
        *((f"w/x/{stem}", png(number), f"of {stem}".encode()) for number, stem in enumerate(stems)),
        ("w/x/0002", png(9), b"of 0002"),
    ]
    assert found[-1].group == "g"
    assert not reasons(reader(path).shards())


def test_members_that_belong_to_nothing_are_counted(tmp_path: Path) -> None:
    members = [
        ("README", b"x"),
        ("c.dcm", b"x"),
        *sample("a"),
        ("a.cls", b"1"),
        ("._a.png", b"x"),
        ("d.left.png", png()),
    ]
    members += [("d.right.png", png()), ("d.txt", b"which?"), *sample("b"), ("b.cls", b"2"), ("b.jpg", png(3))]
    path = write_tar(tmp_path / "x.tar", members)
    assert reasons(reader(path).shards()) == [
        ("x.tar:README", "other_file"),
        ("x.tar:c", "other_file"),
        ("x.tar:d.left", "missing_field"),
        ("x.tar:d.right", "missing_field"),
        ("x.tar:d", "missing_field"),
        ("x.tar:*.cls", "other_file"),
        ("x.tar:*.png", "other_file"),
    ]
    (cls,) = [one for one in everything(reader(path).shards()) if one.where == "x.tar:*.cls"]
    assert cls.detail.startswith("2 members")


@given(
    st.lists(
        st.sampled_from(["png", "a.png", "b.png", "a.txt", "b.txt", "txt", "json", "a.json", "x", "jpg"]), unique=True
    )
)
def test_no_member_is_taken_for_two_pairs(extensions: list[str]) -> None:
    taken = [one for pair in pairs_of(extensions) for one in (pair.image, pair.caption) if one]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(extensions)


def test_a_large_sample_is_cut_between_its_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmkd.curation.sources.tar_samples.MAX_SAMPLE_BYTES", 10)
    stems = ["1.2.1", "1.2.2", "1.2.3"]
    path = write_tar(tmp_path / "x.tar", [one for number, stem in enumerate(stems) for one in sample(stem, number)])
    assert [one.id for one in records(reader(path).shards())] == [f"w/x/{stem}" for stem in stems]


def test_members_outside_and_links_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("l.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    with (
        tarfile.open(path, "a") as tar,
        tarfile.open(
            write_tar(tmp_path / "more", [*sample("/abs"), *sample("../up"), ("l.txt", b"has no image"), *sample("ok")])
        ) as more,
    ):
        for member in more:
            tar.addfile(member, more.extractfile(member))
    assert reasons(reader(path).shards()) == [
        ("x.tar:l.png", "other_file"),
        ("x.tar:/abs", "outside_folder"),
        ("x.tar:../up", "outside_folder"),
        ("x.tar:l", "missing_field"),
    ]
    assert [record.id for record in records(reader(path).shards())] == ["w/x/ok"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([("a.png", b"x")], "missing_field"),
        ([("a.txt", b"x")], "missing_field"),
        ([*sample("a"), ("a.json", b"{")], "unreadable_row"),
        ([*sample("a"), ("a.json", b"[]")], "unreadable_row"),
        ([*sample("a"), ("a.json", b"\xff\xfe\xfd")], "unreadable_row"),
        ([*sample("a"), ("a.json", b'{"group": "\\ud800"}')], "not_utf8"),
    ],
)
def test_incomplete_and_broken_samples_are_rejected_alone(
    tmp_path: Path, files: list[tuple[str, bytes]], reason: str
) -> None:
    path = write_tar(tmp_path / "x.tar", files + sample("z"))
    assert reasons(reader(path).shards()) == [("x.tar:a", reason)]
    assert [record.id for record in records(reader(path).shards())] == ["w/x/z"]


def test_an_oversized_member_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "x.tar", sample("a"))
    monkeypatch.setattr("mmkd.curation.sources.tar_samples.MAX_FILE_BYTES", 100)
    assert reasons(reader(path).shards()) == [("x.tar:a", "oversized_file")]


def test_every_way_to_cut_a_tar_keeps_the_samples_before_and_is_told(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "x.tar", sample("a") + sample("b") + sample("c")).read_bytes()
    data_end = whole.rstrip(b"\0").__len__()
    for end in [*range(600, data_end, 700), data_end // 512 * 512]:
        (tmp_path / "x.tar").write_bytes(whole[:end])
        found = everything(reader(tmp_path / "x.tar").shards())
        assert [item.id for item in found[:-1]] == ["w/x/a", "w/x/b"][: len(found) - 1]
        assert found[-1].reason == "damaged_file"


def test_garbage_between_members_is_told(tmp_path: Path) -> None:
    whole = bytearray(write_tar(tmp_path / "x.tar", sample("a") + sample("b")).read_bytes())
    start = whole.index(b"b.png")
    whole[start : start + 512] = b"?" * 512
    (tmp_path / "x.tar").write_bytes(whole)
    assert reasons(reader(tmp_path / "x.tar").shards()) == [("x.tar", "damaged_file")]
    (tmp_path / "x.tar").write_bytes(b"no tar at all")
    assert reasons(reader(tmp_path / "x.tar").shards()) == [("x.tar", "damaged_file")]


def test_compressed_tars_are_read_and_their_damage_told(tmp_path: Path) -> None:
    raw = write_tar(tmp_path / "raw", sample("a") + sample("b")).read_bytes()
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(raw))
    assert [record.id for record in records(reader(tmp_path).shards())] == ["w/x/a", "w/x/b"]
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(raw)[:-200])
    assert ("x.tar.gz", "damaged_file") in reasons(reader(tmp_path).shards())


def test_the_fingerprint_follows_names_and_sizes(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", sample("a"))
    before = reader(tmp_path).fingerprint()
    assert reader(path).fingerprint() == before
    write_tar(path, sample("a") + sample("b", caption="long " * 3000))
    write_tar(tmp_path / "y.tar", sample("a"))
    assert reader(path).fingerprint() != before != reader(tmp_path).fingerprint()


def test_a_folder_without_tars_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file ending in \.tar"):
        reader(tmp_path).shards()


def test_a_pattern_of_tars_is_told_to_be_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"patterns are for tables and URLs; give the folder itself"):
        reader(tmp_path / "*.tar").shards()


@needs_realdata
def test_real_biomedica_records_keep_article_licence_and_modality(tmp_path: Path) -> None:
    figures = sorted((REALDATA / "embeddings/MMKDCLIP_DATA/features").rglob("*.json"))
    members = [
        (path.name, path.read_bytes()) for json_path in figures for path in (json_path.with_suffix(".jpg"), json_path)
    ]
    found = records(reader(write_tar(tmp_path / "x.tar", members)).shards())
    assert len(found) == 8
    assert {record.licence for record in found} == {"CC BY"}
    assert all(record.group.startswith("PMC") and len(record.caption) > 40 for record in found)
    named = sorted(evaluated_modality(fine_modality_of_labels(record.labels)) for record in found)
    assert named == ["ct", "endoscopy"] + ["histopathology"] * 4 + ["other"] * 2
    assert {bool(record.mention) for record in found} == {True, False}
