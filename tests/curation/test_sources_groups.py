"""Groups out of names: articles and patients that only paths and ids tell of."""

import io
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from corpus_samples import encoded, noise, png, records, write_files, write_tar
from pydantic import ValidationError

from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import TableSource
from mmkd.curation.sources.kinds import open_source, warnings_of
from mmkd.errors import ConfigError

ARTICLE = r"^(PMC\d+)_"


def groups(kind: str, path: Path, pattern: str, **options: Any) -> list[str]:
    chosen = {"kind": kind, "name": "s", "path": str(path), "group": pattern, **options}
    (source,) = CurateSettings.model_validate({"sources": [chosen]}).sources
    return [record.group for record in records(open_source(source).shards())]


def lines(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


NAMES = ["PMC7_a.png", "PMC7_b.png", "PMC8_a.png", "other.png"]


def pictures(folder: Path) -> Path:
    return write_files(folder, {name: png(number) for number, name in enumerate(NAMES)})


def test_tables_take_the_group_from_the_image_or_the_id(tmp_path: Path) -> None:
    rows = [{"image": name, "caption": f"finding {name}"} for name in NAMES]
    table = lines(pictures(tmp_path) / "t.jsonl", rows)
    assert groups("table", table, ARTICLE) == ["PMC7", "PMC7", "PMC8", "s_00000003"]
    turned = [{"id": name, "image": NAMES[3], "caption": "x"} for name in NAMES]
    assert groups("table", lines(table, turned), ARTICLE) == ["PMC7", "PMC7", "PMC8", NAMES[3]]


def test_a_group_that_the_table_tells_goes_first(tmp_path: Path) -> None:
    rows = [{"image": name, "caption": name, "group": "told" if "b" in name else ""} for name in NAMES[:3]]
    assert groups("table", lines(pictures(tmp_path) / "t.jsonl", rows), ARTICLE) == ["PMC7", "told", "PMC8"]


def test_folders_and_volumes_are_grouped_by_their_paths(tmp_path: Path) -> None:
    write_files(tmp_path, {f"lung/p{patient}/{n}.png": png(patient + 7 * n) for patient in (1, 2) for n in (0, 1)})
    assert groups("folders", tmp_path, r"/p(\d)/") == ["1", "1", "2", "2"]
    for name in ("a_1", "a_2", "b_1"):
        (tmp_path / "mr").mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(noise(1)[..., :3].astype(np.float32), np.eye(4)), tmp_path / f"mr/{name}.nii")
    assert set(groups("nifti", tmp_path, r"mr/([a-z])_")) == {"a", "b"}


def test_tars_and_the_public_layout_are_grouped_by_key_and_path(tmp_path: Path) -> None:
    members = [(f"{name[:-4]}.{kind}", png() if kind == "png" else b"x y") for name in NAMES for kind in ("png", "txt")]
    write_tar(tmp_path / "a.tar", members)
    assert groups("webdataset", tmp_path / "a.tar", ARTICLE) == ["PMC7", "PMC7", "PMC8", "s/a/other"]
    assert set(groups("webdataset", tmp_path / "a.tar", "^(a)/")) == {"a"}
    rows = [{"id": f"r{name}", "imgpath": name, "txt": "a finding"} for name in NAMES]
    lines(pictures(tmp_path / "public") / "meta.jsonl", rows)
    assert groups("reference", tmp_path / "public", ARTICLE) == ["PMC7", "PMC7", "PMC8", "rother.png"]


@pytest.mark.parametrize("kind", ["table", "folders", "webdataset", "reference", "nifti", "datasets"])
def test_a_pattern_that_matches_nothing_is_an_error_that_shows_a_name(tmp_path: Path, kind: str) -> None:
    pictures(tmp_path / "c")
    rows = [{"image": name, "imgpath": name, "caption": "x", "txt": "x"} for name in NAMES]
    path = {"table": tmp_path / "c/t.jsonl", "reference": tmp_path / "c", "webdataset": tmp_path / "a.tar"}
    lines(tmp_path / "c/t.jsonl", rows)
    lines(tmp_path / "c/meta.jsonl", rows)
    write_tar(tmp_path / "a.tar", [("PMC7_a.png", png()), ("PMC7_a.txt", b"x y")])
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), tmp_path / "c/PMC7_a.nii")
    if kind == "datasets":
        from datasets import Dataset

        Dataset.from_list([{"image": {"path": "PMC7_a.png", "bytes": png()}, "caption": "x"}]).save_to_disk(
            tmp_path / "saved"
        )
        path["datasets"] = tmp_path / "saved"
    with pytest.raises(ConfigError, match=r"source 's': group = '\^\(zzz\)' matches none of .*PMC7_a"):
        groups(kind, path.get(kind, tmp_path), "^(zzz)")


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("(", "no regular expression"), ("(a{99999999999})", "no regular expression"), ("PMC", "no parentheses")],
)
def test_a_pattern_without_a_group_is_refused(pattern: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        groups("folders", Path(), pattern)


def test_dicom_paths_group_but_are_not_told(tmp_path: Path) -> None:
    from dicom_samples import dicom

    for patient, series in (("Doe_Jane", "one"), ("Doe_Jane", "two"), ("Roe_Rick", "three")):
        dicom(tmp_path / patient / series, series, 1, PatientID="")
    found = groups("dicom", tmp_path, "^([^/]+)/")
    assert found[0] == found[1] != found[2]
    assert not any(name in group for group in found for name in ("Doe", "Roe"))
    with pytest.raises(ConfigError, match=r"matches none of its 3 files$"):
        groups("dicom", tmp_path, "^(zzz)")


def test_bytes_in_a_table_hold_no_name(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {"id": ["PMC7_a", "PMC8_a"], "image": [png(1), encoded(noise(2))], "caption": ["x y", "y z"]}
    stream = io.BytesIO()
    pq.write_table(pa.table(rows), stream)
    (tmp_path / "t.parquet").write_bytes(stream.getvalue())
    assert groups("table", tmp_path / "t.parquet", ARTICLE) == ["PMC7", "PMC8"]


def told_of_groups(folder: Path, header: str, name: str = "pairs.csv", **keys: object) -> list[str]:
    line = header if name.endswith(".csv") else json.dumps(dict.fromkeys(header.split(","), "x"))
    (folder / name).write_text(line + "\n")
    source = {"kind": "table", "name": "t", "path": folder / name, **keys}
    return warnings_of(TableSource.model_validate(source))


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
def test_a_column_that_looks_like_a_group_and_is_not_read_is_told(tmp_path: Path, name: str) -> None:
    (told,) = told_of_groups(tmp_path, "image,caption,Patient-ID", name)
    assert told.startswith("WARNING: source t: column 'Patient-ID' looks like a group")
    assert 'columns = { group = "Patient-ID" }, or group = ""' in told
    assert told_of_groups(tmp_path, "image,caption,age", name) == []
    assert told_of_groups(tmp_path, "image,caption,patient,group", name) == []
    assert told_of_groups(tmp_path, "image,caption,patient", name, columns={"group": "patient"}) == []
    assert told_of_groups(tmp_path, "image,caption,patient", name, group="") == []
    assert told_of_groups(tmp_path, "image,caption,patient", name, group="^(p[0-9]+)") == []
    assert told_of_groups(tmp_path, "image,caption,case", name, columns={"id": "case"}) == []
