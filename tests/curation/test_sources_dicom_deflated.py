"""DICOM files whose data set is deflated: read like any other, within a bound that no bomb passes."""

import io
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from corpus_samples import reasons, records
from dicom_samples import dicom, source
from pydicom import dcmread, dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian

from mmkd.images.dicom import DEFLATED, dicom_picture, read_header
from mmkd.images.inflated import Inflated, TooLargeError
from mmkd.reasons import BadRecordError

MIB = 2**20


def deflate(path: Path) -> None:
    """Write the file again, deflated."""
    whole = dcmread(path)
    whole.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dcmwrite(path, whole, enforce_file_format=True)


def raw_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def parts(path: Path) -> tuple[bytes, bytes]:
    """The file as far as its deflated data set, and that, inflated."""
    data = path.read_bytes()
    end = 144 + int.from_bytes(data[140:144], "little")  # what (0002,0000) says of its group's length
    return data[:end], zlib.decompress(data[end:], -zlib.MAX_WBITS)


def large(path: Path, side: int) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (side, side), np.uint16)
    dicom(path, "one", 1, Rows=side, Columns=side, PixelData=values.tobytes())


def test_a_deflated_file_of_4_mib_gives_the_picture_of_its_twin(tmp_path: Path) -> None:
    large(tmp_path / "a", 1800)
    expected = records(source(tmp_path).shards())
    deflate(tmp_path / "a")
    assert (tmp_path / "a").stat().st_size > 4 * MIB
    assert records(source(tmp_path).shards()) == expected


def test_of_a_deflated_file_the_header_is_inflated_and_no_pixels(tmp_path: Path) -> None:
    dicom(tmp_path / "a", "one", 1, Rows=4096, Columns=2048, PixelData=bytes(16 * MIB))
    deflate(tmp_path / "a")
    with (tmp_path / "a").open("rb") as stream:
        tracemalloc.start()
        header = read_header(stream, ["Rows", "Modality"])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (header.Rows, header.Modality) == (4096, "CT")
    assert "PixelData" not in header
    assert peak < MIB


@pytest.mark.parametrize("place", ["before the pixels", "in the pixels"])
def test_a_bomb_is_refused_within_little_memory(tmp_path: Path, place: str) -> None:
    """A field that claims 4 GB and begins with 64 MB of zeros, where the header is searched or where the pixels are."""
    dicom(tmp_path / "a", "one", 1)
    deflate(tmp_path / "a")
    head, fields = parts(tmp_path / "a")
    cut = fields.index(b"\xe0\x7f\x10\x00OW")
    size = 2**32 - 16
    tag = b"\x11\x00\x10\x10OB\0\0" if place == "before the pixels" else b"\xe0\x7f\x10\x00OW\0\0"
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(fields[:cut] + tag + size.to_bytes(4, "little"))
    bomb += deflater.compress(bytes(64 * MIB)) + deflater.flush()
    (tmp_path / "a").write_bytes(head + bomb)
    tracemalloc.start()
    found = reasons(source(tmp_path).shards())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [("file 0", "decompression_bomb")]
    assert peak < 8 * MIB


def test_a_bomb_of_many_small_fields_is_refused_within_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom(tmp_path / "a", "one", 1)
    deflate(tmp_path / "a")
    head, fields = parts(tmp_path / "a")
    cut = fields.index(b"\xe0\x7f\x10\x00OW")
    field = b"\x11\x00\x10\x10OB\0\0" + MIB.to_bytes(4, "little") + bytes(MIB)
    (tmp_path / "a").write_bytes(head + raw_deflate(fields[:cut] + 40 * field + fields[cut:]))
    assert len(records(source(tmp_path).shards())) == 1
    monkeypatch.setattr("mmkd.images.dicom.MAX_INFLATED_BYTES", 32 * MIB)
    tracemalloc.start()
    found = reasons(source(tmp_path).shards())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [("file 0", "decompression_bomb")]
    assert peak < 8 * MIB


def test_what_exceeds_the_bound_is_never_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Inflated(io.BytesIO(raw_deflate(bytes(4 * MIB))), limit=MIB)
    assert stream.read(MIB) == bytes(MIB)
    with pytest.raises(TooLargeError, match="1,048,577 inflated bytes, at most 1,048,576"):
        stream.read(1)
    large(tmp_path / "a", 512)
    deflate(tmp_path / "a")
    assert len(records(source(tmp_path).shards())) == 1
    monkeypatch.setattr("mmkd.images.dicom.MAX_INFLATED_BYTES", 512 * 512 * 2)  # the pixels fit, not the header too
    assert reasons(source(tmp_path).shards()) == [("file 0", "decompression_bomb")]
    with pytest.raises(BadRecordError, match="inflated bytes"):
        dicom_picture((tmp_path / "a").read_bytes())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_stream_that_is_cut_off_is_a_damaged_file(tmp_path: Path, share: float) -> None:
    large(tmp_path / "a", 256)
    deflate(tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    start = len(parts(tmp_path / "a")[0])
    (tmp_path / "a").write_bytes(data[: start + int(share * (len(data) - start))])
    assert reasons(source(tmp_path).shards()) == [("file 0", "damaged_file")]


def test_a_stream_that_is_broken_is_a_damaged_file(tmp_path: Path) -> None:
    dicom(tmp_path / "a", "one", 1)
    deflate(tmp_path / "a")
    head, _ = parts(tmp_path / "a")
    (tmp_path / "a").write_bytes(head + b"\xff" * 1000)
    assert reasons(source(tmp_path).shards()) == [("file 0", "damaged_file")]


def test_deflate_is_told_from_a_file_meta_group_in_any_order_and_length(tmp_path: Path) -> None:
    dicom(tmp_path / "a", "one", 1)
    deflate(tmp_path / "a")
    expected = records(source(tmp_path).shards())
    head, fields = parts(tmp_path / "a")
    private = b"\x02\x00\x02\x01OB\0\0" + (100_000).to_bytes(4, "little") + bytes(100_000)
    (tmp_path / "a").write_bytes(head[:144] + private + head[144:] + raw_deflate(fields))
    assert records(source(tmp_path).shards()) == expected


def test_the_uid_of_deflate_elsewhere_in_a_file_changes_nothing(tmp_path: Path) -> None:
    dicom(tmp_path / "a", "one", 1, StudyDescription=DEFLATED)
    assert len(records(source(tmp_path).shards())) == 1


def test_inflated_bytes_are_those_that_were_deflated() -> None:
    data = np.random.default_rng(1).integers(0, 9, 700_000, np.uint8).tobytes()
    stream = Inflated(io.BytesIO(raw_deflate(data)), limit=len(data) + 10)
    generator, place = np.random.default_rng(2), 0
    while place < len(data):
        step, size = (int(generator.integers(1, limit)) for limit in (50_000, 90_000))
        stream.seek(-min(20, place), io.SEEK_CUR)
        place = stream.tell()
        assert stream.read(size) == data[place : place + size]
        place = stream.seek(step, io.SEEK_CUR)
    assert stream.seek(len(data) - 5) == len(data) - 5
    assert stream.read(10) == data[-5:]
    stream.seek(0)
    with pytest.raises(zlib.error, match="too far back"):
        stream.read(1)
