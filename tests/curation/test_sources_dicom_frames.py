"""DICOM files of several frames as a source: which frames, what they are called, how much memory they take."""

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_samples import everything, records
from dicom_samples import dicom, source
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

from mmkd.curation.records.record import Rejected
from mmkd.images.dicom import dicom_frames


def cine(path: Path, levels: list[int], side: int = 8, **more: Any) -> None:
    """A frame for each level, 8 bits, all of that level but for a black corner."""
    frames = np.repeat(np.array(levels, np.uint8), side * side).reshape(-1, side, side)
    frames[:, 0, 0] = 0
    shape = {"Rows": side, "Columns": side, "NumberOfFrames": len(levels)}
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "WindowCenter": 128, "WindowWidth": 256}
    dicom(path, "one", 1, **{**shape, **bits, "PixelData": frames.tobytes(), **more})


def level(data: bytes) -> int:
    return int(np.asarray(Image.open(io.BytesIO(data)))[-1, -1])


@pytest.mark.parametrize(
    ("step", "expected"), [(0, [4]), (1, [1, 2, 3, 4, 5, 6, 7]), (2, [2, 4, 6]), (3, [1, 4, 7]), (5, [4]), (99, [4])]
)
def test_every_few_frames_with_the_middle_among_them(tmp_path: Path, step: int, expected: list[int]) -> None:
    cine(tmp_path / "a", [10, 20, 30, 40, 50, 60, 70])
    found = records(source(tmp_path, frame_step=step).shards())
    assert [level(record.image) for record in found] == [10 * number for number in expected]
    [middle] = records(source(tmp_path).shards())
    assert level(middle.image) == 40
    if step:
        assert [record.id for record in found] == [f"{middle.id}/{number:04d}" for number in expected]
        assert [record.where for record in found] == [f"file 0:{number}" for number in expected]
    assert {(record.group, record.caption) for record in found} == {(middle.group, middle.caption)}


def test_files_of_one_frame_are_called_as_without_frame_step(tmp_path: Path) -> None:
    for place in range(3):
        dicom(tmp_path / f"{place}", "one", place)
    cine(tmp_path / "one of one", [50], NumberOfFrames="1")
    assert records(source(tmp_path, frame_step=1).shards()) == records(source(tmp_path).shards())


def test_each_frame_is_seen_in_its_own_window(tmp_path: Path) -> None:
    def groups(centre: float) -> Dataset:
        window, frame = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 101
        frame.FrameVOILUTSequence = [window]
        return frame

    cine(tmp_path / "a", [50, 50, 50], PerFrameFunctionalGroupsSequence=[groups(50.5), groups(100.5), groups(0.5)])
    found = records(source(tmp_path, frame_step=1).shards())
    assert [level(record.image) for record in found] == [128, 0, 255]


@pytest.mark.parametrize("kind", ["deflated", "JPEG"])
def test_frames_of_compressed_files(tmp_path: Path, kind: str) -> None:
    levels = [10, 90, 170, 250]
    cine(tmp_path / "a", levels)
    whole = dcmread(tmp_path / "a")
    if kind == "deflated":
        whole.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    else:
        frames = [io.BytesIO() for _ in levels]
        for stream, grey in zip(frames, levels, strict=True):
            Image.new("L", (8, 8), grey).save(stream, "JPEG", quality=95)
        whole.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        whole.PixelData = encapsulate([stream.getvalue() for stream in frames])
        whole["PixelData"].VR = "OB"
    dcmwrite(tmp_path / "a", whole, enforce_file_format=True)
    found = records(source(tmp_path, frame_step=1).shards())
    assert [abs(level(record.image) - grey) <= 1 for record, grey in zip(found, levels, strict=True)] == [True] * 4


def test_one_frame_is_decoded_at_a_time(tmp_path: Path) -> None:
    cine(tmp_path / "a", list(range(60)), side=256, WindowCenter=30, WindowWidth=60)
    data = (tmp_path / "a").read_bytes()
    frames = dicom_frames(data, 1)
    next(frames)
    tracemalloc.start()
    assert [number for number, _ in frames] == list(range(2, 61))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * 8 * 256 * 256  # of 59 frames, 8 bytes a value


def test_frames_before_damage_are_kept(tmp_path: Path) -> None:
    cine(tmp_path / "a", [10, 20, 30])
    whole = dcmread(tmp_path / "a")
    stream = io.BytesIO()
    Image.new("L", (8, 8), 100).save(stream, "JPEG")
    whole.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    whole.PixelData = encapsulate([stream.getvalue(), stream.getvalue(), b"no JPEG at all"])
    whole["PixelData"].VR = "OB"
    dcmwrite(tmp_path / "a", whole, enforce_file_format=True)
    *kept, last = everything(source(tmp_path, frame_step=1).shards())
    assert [item.where for item in kept] == ["file 0:1", "file 0:2"]
    assert isinstance(last, Rejected)
    assert (last.where, last.reason) == ("file 0", "unreadable_image")


def test_more_frames_claimed_than_there_are_is_listed(tmp_path: Path) -> None:
    cine(tmp_path / "a", [10, 20, 30], NumberOfFrames="2000000000")
    [found] = everything(source(tmp_path, frame_step=1).shards())
    assert isinstance(found, Rejected)
    assert found.reason == "unreadable_image"


@pytest.mark.parametrize("deflated", [False, True])
def test_a_damaged_file_costs_itself_alone(tmp_path: Path, deflated: bool) -> None:
    cine(tmp_path / "b", [10, 20, 30], BurnedInAnnotation="NO", RescaleSlope=1, RescaleIntercept=0)
    whole = dcmread(tmp_path / "b")
    if deflated:
        whole.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dcmwrite(tmp_path / "b", whole, enforce_file_format=True)
    dicom(tmp_path / "a", "sound", 1)
    sound, generator, kinds = (tmp_path / "b").read_bytes(), np.random.default_rng(7), set()
    for _ in range(150):
        mutated = bytearray(sound)
        place = int(generator.integers(128, len(sound) - 4))
        ends = [generator.bytes(4), b"\xff" * 4, bytes(4)]
        mutated[place : place + 4] = ends[int(generator.integers(3))]
        (tmp_path / "b").write_bytes(bytes(mutated))
        found = everything(source(tmp_path, frame_step=1).shards())
        others = [item for item in found if not item.where.startswith("file 0")]
        assert len(found) == len(others) + 1
        assert all("Doe" not in repr(item) and "MRN47" not in repr(item) for item in others)
        kinds |= {getattr(item, "reason", "kept") for item in others}
    assert {"kept", "damaged_file"} <= kinds
