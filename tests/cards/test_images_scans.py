"""Scans that a card's table names: the same picture as in curation, and the same sections of reports."""

import io
from pathlib import Path

import numpy as np
import pytest
from dicom_samples import dicom
from PIL import Image
from reader_cards import table

from mmkd.cards.readers.read import read_samples
from mmkd.curation.records.record import Record
from mmkd.curation.settings.sources import TableSource
from mmkd.curation.sources.tables import TableReader
from mmkd.errors import DataError

nibabel = pytest.importorskip("nibabel")
COLUMNS = {"image": "path", "caption": "report"}


def scans(folder: Path) -> list[dict[str, str]]:
    """A file, a series, a volume of a card's modality CT with padding, and a folder of pictures; each with a report."""
    dicom(folder / "one.dcm", "single", 1)
    for place in range(5):
        dicom(folder / f"series/{9 - place}", "one", place)
    (folder / "slices").mkdir()
    for place in (1, 2, 10):
        Image.new("RGB", (20, 16), (place, 0, 0)).save(folder / f"slices/{place}.png")
    values_XYZ = np.random.default_rng(3).integers(-1000, 1000, (12, 16, 20)).astype(np.int16)
    values_XYZ[:2] = -3000
    nibabel.save(nibabel.Nifti1Image(values_XYZ, np.diag([1.0, 1.0, 2.0, 1.0])), folder / "volume.nii.gz")
    names = ["one.dcm", "series", "slices", "volume.nii.gz"]
    return [{"path": name, "report": f"TECHNIQUE: x\nIMPRESSION: of {name}"} for name in names]


@pytest.mark.parametrize("axis", ["axial", "sagittal"])
def test_a_card_shows_what_curation_reads(tmp_path: Path, axis: str) -> None:
    options = {"columns": COLUMNS, "sections": ["impression"], "axis": axis, "window": (5, 95)}
    card = table(tmp_path / "t.csv", scans(tmp_path), **options)
    samples = read_samples(card)
    source = {"kind": "table", "name": "t", "path": tmp_path / "t.csv", "modality": "CT", **options}
    [shard] = TableReader(TableSource.model_validate(source)).shards()
    records = [found for found in shard.records() if isinstance(found, Record)]
    assert [sample.caption for sample in samples] == [record.caption for record in records]
    assert samples[0].caption == "of one.dcm"
    for sample, record in zip(samples, records, strict=True):
        seen = Image.open(io.BytesIO(record.image)).convert("RGB")
        assert np.array_equal(np.asarray(sample.image.read()), np.asarray(seen)), sample.id
    assert len({sample.image.digest() for sample in samples}) == 4
    assert np.asarray(samples[2].image.read())[0, 0, 0] == 2  # 1, 2, 10: the middle one


def test_what_cannot_be_read_is_named_with_its_row_or_file(tmp_path: Path) -> None:
    rows = scans(tmp_path)
    with pytest.raises(DataError, match=r"row 1: no image file .*gone.nii"):
        read_samples(table(tmp_path / "t.csv", [{**rows[0], "path": "gone.nii"}], columns=COLUMNS))
    with pytest.raises(
        DataError, match="row 1: the report has no text in history; sections found: technique, impression"
    ):
        read_samples(table(tmp_path / "t.csv", rows, columns=COLUMNS, sections=["history"]))
    (tmp_path / "volume.nii.gz").write_bytes(b"no volume")
    *_, volume = read_samples(table(tmp_path / "t.csv", rows, columns=COLUMNS))
    for read in (volume.image.read, volume.image.digest):
        with pytest.raises(DataError, match=r"volume\.nii\.gz: .*take it out of the data set"):
            read()
