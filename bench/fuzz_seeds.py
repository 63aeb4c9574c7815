"""Sound files of every format, small and made by code, from which damaged ones are made."""

import gzip
import io
import json
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
GREY = np.linspace(0, 255, 24 * 32).astype(np.uint8).reshape(24, 32)
RGB = np.stack([GREY, GREY.T.reshape(24, 32), GREY[::-1]], axis=-1)
WIDE = (GREY.astype(np.uint16) * 257).astype(">u2")
BESIDE = "beside.png"  # a picture that tables name
ROWS = [{"id": f"p{n}", "image": BESIDE, "caption": f'a "finding" of size {n}, left', "size": n} for n in range(9)]
TAR_HEADER = 512


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def written(write: Callable[[Path], object], name: str) -> bytes:
    """What a library writes that wants the name of a file."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, name))
        return Path(folder, name).read_bytes()


def jpeg() -> list[bytes]:
    rgb, exif = Image.fromarray(RGB), Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a patient"
    return [
        saved(Image.fromarray(GREY), "JPEG"),
        saved(rgb, "JPEG", progressive=True, comment="a comment"),
        saved(rgb, "JPEG", exif=exif, restart_marker_rows=1),
        saved(rgb.convert("CMYK"), "JPEG"),
    ]


def png() -> list[bytes]:
    rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY)
    turned = Image.Exif()
    turned[0x0112] = 8
    return [
        saved(grey, "PNG"),
        saved(rgb, "PNG", exif=turned),
        saved(rgb.quantize(16), "PNG", transparency=3),
        saved(Image.merge("LA", (grey, grey)), "PNG"),
        saved(Image.fromarray(WIDE.astype(np.uint16)), "PNG"),
        saved(grey.convert("1"), "PNG"),
        wide_png(2, 3),
        wide_png(4, 2),
        wide_png(6, 4),
        saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)]),
    ]


def wide_png(colour: int, channels: int) -> bytes:
    """16 bits a channel, which Pillow does not write."""
    pixels = np.repeat(WIDE[..., None], channels, axis=-1)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", WIDE.shape[1], WIDE.shape[0], 16, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return with_png_checksums(
        b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(body)) + kind + body + bytes(4) for kind, body in chunks)
    )


def with_png_checksums(data: bytes) -> bytes:
    """Right checksums of all chunks that are whole."""
    place, fixed = 8, bytearray(data)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


def webp() -> list[bytes]:
    rgb = Image.fromarray(RGB)
    rgba = rgb.convert("RGBA")
    rgba.putalpha(Image.fromarray(GREY))
    exif = Image.Exif()
    exif[0x0112] = 3
    return [
        saved(rgb, "WEBP", exif=exif),
        saved(rgba, "WEBP", lossless=True),
        saved(rgba, "WEBP", save_all=True, append_images=[rgba.rotate(90)], duration=10),
    ]


def bmp() -> list[bytes]:
    rgb = Image.fromarray(RGB)
    return [
        saved(rgb, "BMP"),
        saved(Image.fromarray(GREY), "BMP"),
        saved(rgb.convert("1"), "BMP"),
        saved(rgb.quantize(9), "BMP"),
    ]


def gif() -> list[bytes]:
    frames = [Image.fromarray(RGB).quantize(16).rotate(turn) for turn in (0, 90, 180)]
    return [
        saved(frames[0], "GIF"),
        saved(frames[0], "GIF", transparency=2, interlace=1),
        saved(frames[0], "GIF", save_all=True, append_images=frames[1:], comment=b"a comment"),
    ]


def tiff() -> list[bytes]:
    rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY)
    plain = [
        saved(image, "TIFF")
        for image in (rgb, grey, grey.convert("1"), grey.convert("F"), grey.convert("I"), rgb.convert("CMYK"))
    ]
    packed = [saved(rgb, "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    deep = [wide_tiff(order, planar) for order in "<>" for planar in (1, 2)]
    return [
        *plain,
        *packed,
        *deep,
        saved(rgb, "TIFF", save_all=True, append_images=[grey]),
        saved(rgb, "TIFF", big_tiff=True),
    ]


def wide_tiff(order: str, planar: int) -> bytes:
    """RGB of 16 bits, not compressed, colours interleaved (1) or apart (2)."""
    pixels = np.repeat(WIDE[..., None], 3, axis=-1).astype(f"{order}u2")
    body = (pixels if planar == 1 else pixels.transpose(2, 0, 1)).tobytes()
    height, width = WIDE.shape
    parts, size = 1 if planar == 1 else 3, len(body) // (1 if planar == 1 else 3)
    tables_at = 8 + len(body)
    tables = struct.pack(f"{order}3HH", 16, 16, 16, 0)
    tables += struct.pack(f"{order}{parts}I", *(8 + n * size for n in range(parts)))
    tables += struct.pack(f"{order}{parts}I", *[size] * parts)
    places = (8, size) if parts == 1 else (tables_at + 8, tables_at + 8 + 4 * parts)
    short, long = 3, 4
    entries = [
        *((256, short, 1, width), (257, short, 1, height), (258, short, 3, tables_at), (259, short, 1, 1)),
        *((262, short, 1, 2), (273, long, parts, places[0]), (277, short, 1, 3), (278, short, 1, height)),
        *((279, long, parts, places[1]), (284, short, 1, planar)),
    ]
    directory = b"".join(_tiff_entry(order, *entry) for entry in entries)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{order}I", tables_at + len(tables))
    return head + body + tables + struct.pack(f"{order}H", len(entries)) + directory + bytes(4)


def _tiff_entry(order: str, tag: int, kind: int, count: int, value: int) -> bytes:
    inline = struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{order}I", value)
    return struct.pack(f"{order}HHI", tag, kind, count) + inline


def slides() -> list[bytes]:
    """A tiled TIFF that OpenSlide opens: a stain on glass."""
    side, across = 128, 2
    pixels = np.full((side * across, side * across, 3), 243, np.uint8)
    pixels[40:200, 40:200] = (190, 90, 160)
    blocks = pixels.reshape(across, side, across, side, 3).transpose(0, 2, 1, 3, 4).tobytes()
    count, size = across * across, side * side * 3
    tables_at = 8 + len(blocks)
    tables = struct.pack("<4H", 8, 8, 8, 0) + struct.pack(f"<{count}I", *(8 + n * size for n in range(count)))
    tables += struct.pack(f"<{count}I", *[size] * count)
    entries = [
        *((256, 4, 1, side * across), (257, 4, 1, side * across), (258, 3, 3, tables_at), (259, 3, 1, 1)),
        *((262, 3, 1, 2), (277, 3, 1, 3), (284, 3, 1, 1), (322, 4, 1, side), (323, 4, 1, side)),
        *((324, 4, count, tables_at + 8), (325, 4, count, tables_at + 8 + 4 * count)),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(_tiff_entry("<", *entry) for entry in entries) + bytes(4)
    # what decides comes first, where most faults are
    return [_moved(blocks, tables, directory, tables_at)]


def _moved(blocks: bytes, tables: bytes, directory: bytes, tables_at: int) -> bytes:
    return struct.pack("<2sHI", b"II", 42, tables_at + len(tables)) + blocks + tables + directory


def dicom_file(syntax: str = "1.2.840.10008.1.2.1", bits: int = 16, **more: Any) -> bytes:
    from pydicom import Dataset, dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, CTImageStorage

    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = UID(syntax)
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = "1.2.3.4"
    header.PatientID, header.Modality, header.BodyPartExamined = "MRN 1", "CT", "CHEST"
    header.SeriesInstanceUID, header.InstanceNumber, header.PixelSpacing = "1.2.3", 1, [0.5, 0.7]
    header.Rows, header.Columns = 24, 32
    header.PhotometricInterpretation, header.SamplesPerPixel, header.PixelRepresentation = "MONOCHROME2", 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = bits, bits, bits - 1
    header.WindowCenter, header.WindowWidth, header.RescaleSlope, header.RescaleIntercept = 2000, 4000, 1, -1024
    header.PixelData = GREY.astype(f"{'>' if syntax.endswith('2.2') else '<'}u{bits // 8}").tobytes()
    for name, value in more.items():
        setattr(header, name, value)
    stream = io.BytesIO()
    dcmwrite(stream, header, enforce_file_format=True)
    return stream.getvalue()


def dicom() -> list[bytes]:
    from pydicom import Dataset, dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

    def packed(syntax: str) -> bytes:
        wide = dicom_file(Rows=72, Columns=96, PixelData=np.tile(GREY.astype("<u2"), (3, 3)).tobytes())
        header, stream = dcmread(io.BytesIO(wide)), io.BytesIO()
        header.compress(syntax)
        header.save_as(stream)
        return stream.getvalue()

    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 16], np.arange(256, dtype=np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    colours: dict[str, Any] = {
        f"{name}PaletteColorLookupTable{part}": value
        for name in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 8]), ("Data", bytes(range(256))))
    }
    plain = dicom_file()
    frame: dict[str, Any] = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    return [
        plain,
        plain[132:],  # without preamble
        dicom_file("1.2.840.10008.1.2"),
        dicom_file("1.2.840.10008.1.2.2"),
        dicom_file("1.2.840.10008.1.2.1.99"),
        dicom_file(NumberOfFrames=3, PixelData=GREY.astype("<u2").tobytes() * 3),
        dicom_file(VOILUTSequence=[table], WindowCenter=None, PixelPaddingValue=0),
        dicom_file(bits=8, PhotometricInterpretation="PALETTE COLOR", **colours),
        dicom_file(bits=8, PixelData=RGB.tobytes(), **frame),
        dicom_file(
            "1.2.840.10008.1.2.4.50",
            bits=8,
            PixelData=encapsulate([saved(Image.fromarray(GREY), "JPEG")]),
            PhotometricInterpretation="MONOCHROME1",
        ),
        *(packed(syntax) for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless)),
    ]


def nifti() -> list[bytes]:
    import nibabel

    value = np.arange(9 * 10 * 11, dtype=np.int16).reshape(9, 10, 11)
    turned = np.array([[0, 2.0, 0, 0], [1, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    colour = np.zeros((9, 10, 11), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    kinds: list[Any] = [
        value,
        value.astype(np.float32),
        np.stack([value] * 2, -1),
        value.astype(np.int64),
        value.astype(np.complex64),
        colour,
    ]
    volumes = [nibabel.Nifti1Image(one, turned, dtype=one.dtype) for one in kinds]
    volumes += [nibabel.Nifti2Image(value, np.eye(4)), nibabel.Nifti1Image(value.astype(">f4"), np.eye(4))]
    return [volume.to_bytes() for volume in volumes]


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1, mtime=0)


def tar() -> list[bytes]:
    members = []
    for row in ROWS[:3]:
        story = {"caption": row["caption"], "image_set": [{"image_id": "a", "caption": "b"}], "image_cluster_id": "a"}
        members += [(f"{row['id']}.png", png()[0]), (f"{row['id']}.txt", str(row["caption"]).encode())]
        members += [(f"{row['id']}.json", json.dumps(story).encode())]
    long = [(f"{'folder/' * 30}x.jpg", jpeg()[0]), (f"{'folder/' * 30}x.txt", b"a caption \xc3\xa4")]
    return [
        _tar(members[3 * n :] + long[: 2 * n], kind)
        for n, kind in enumerate((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    ]


def figures() -> list[bytes]:
    """BIOMEDICA's JSON."""
    figures = [{"image_id": "a", "caption": "b"}]
    context = {"a": ["It shows", "that."]}
    return [
        json.dumps(
            {
                "caption": ["a", "b"],
                "image_set": figures,
                "image_cluster_id": "a",
                "image_context": context,
                "image_primary_label": ["Plot", "CT"],
                "article_license": "CC BY",
                "article_accession_id": 7,
            }
        ).encode()
    ]


def _tar(members: list[tuple[str, bytes]], kind: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind, pax_headers={"comment": "made up"}) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def with_tar_checksums(data: bytes) -> bytes:
    """Right checksums of all blocks that look like headers."""
    fixed = bytearray(data)
    for place in range(0, len(data) - TAR_HEADER + 1, TAR_HEADER):
        if data[place + 257 : place + 262] == b"ustar":
            fixed[place + 148 : place + 156] = b" " * 8
            fixed[place + 148 : place + 156] = b"%06o\0 " % sum(fixed[place : place + TAR_HEADER])
    return bytes(fixed)


def text_tables(delimiter: str) -> list[bytes]:
    import csv

    def table(quoting: Any, **options: Any) -> str:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(ROWS[0]), delimiter=delimiter, quoting=quoting, escapechar="\\", **options)
        writer.writeheader()
        writer.writerows(ROWS)
        return stream.getvalue()

    quoted, plain = table(csv.QUOTE_MINIMAL), table(csv.QUOTE_ALL, lineterminator="\n")
    return [
        quoted.encode(),
        plain.encode(),
        plain.encode("utf-16"),
        quoted.replace("\r\n", "\r").encode("utf-8-sig"),
        f"sep={delimiter}\r\n{quoted}".encode(),
        quoted.replace("left", 'li"nks\nund r"echts').encode("cp1252"),
    ]


def json_lines() -> list[bytes]:
    lines = "\n".join(
        json.dumps({**row, "imgpath": "meta.jsonl", "txt": "a finding", "list": ["a", {"b": None}]}) for row in ROWS
    )
    return [lines.encode(), lines.encode("utf-16"), lines.replace('"size"', '"caption"').encode()]


def json_lists() -> list[bytes]:
    return [
        json.dumps(ROWS).encode(),
        json.dumps(ROWS, indent=1).encode("utf-16"),
        json.dumps([*ROWS, {"caption": ["a", "b"]}], indent=1).encode("utf-8-sig"),
    ]


def arrow_tables() -> list[Any]:
    import pyarrow as pa

    image = {"bytes": png()[0], "path": None}
    plain = pa.Table.from_pylist([{**row, "image": png()[0]} for row in ROWS])
    nested = pa.Table.from_pylist([{**row, "image": image, "labels": ["a", "ä"], "time": 1.5} for row in ROWS])
    coded = nested.set_column(2, "caption", nested["caption"].dictionary_encode())
    return [plain, nested, coded]


def parquet() -> list[bytes]:
    from pyarrow import parquet as pq

    tables = arrow_tables()
    made = [written(partial(pq.write_table, table, row_group_size=4), "a") for table in tables]
    packed = partial(pq.write_table, tables[1], compression="zstd", version="2.6", data_page_version="2.0")
    return [*made, written(packed, "a")]


def arrow() -> list[bytes]:
    import pyarrow as pa

    def ipc(table: Any, new: Any, **options: Any) -> bytes:
        sink = pa.BufferOutputStream()
        with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
            writer.write_table(table, max_chunksize=4)
        return bytes(sink.getvalue())

    tables = arrow_tables()
    files = [ipc(table, pa.ipc.new_file) for table in tables]
    return [*files, ipc(tables[1], pa.ipc.new_stream), ipc(tables[0], pa.ipc.new_file, compression="zstd")]


def cards() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "src/mmkd/cards/catalog").glob("*.toml"))]


def recipes() -> list[bytes]:
    found = [path.read_bytes() for path in sorted(ROOT.rglob("recipes/*.toml")) if "mmkd" in path.read_text()]
    own = b"""name = "own"
leave_out = []
[[curate.sources]]
kind = "table"
path = "pairs.csv"
group = '^(PMC[0-9]{3,9})_'
include = { modality = ["CT"] }
[curate.filters]
languages = ["en"]
[[teachers]]
name = "a"
model = "local-dir:a"
[reliability]
[student]
model = "ViT-B-16"
[pretrain]
[distill]
lr = 1e-4
[evaluate]
cards = ["a.toml"]
[rivals.b]
lr = 1e-3
"""
    return [*found, own]


def hdf5() -> list[bytes]:
    import h5py

    def bag(**options: Any) -> bytes:
        stream = io.BytesIO()
        with h5py.File(stream, "w") as stored:
            stored.create_dataset("features", data=np.arange(60, dtype=np.float32).reshape(12, 5), **options)
            coords = stored.create_dataset("coords", data=np.arange(24).reshape(12, 2), **options)
            coords.attrs["patch_size"], coords.attrs["name"] = 256, "slide"
            stored.create_dataset("group/x", data=GREY[None], **options)
            stored.create_dataset("y", data=np.array([[1]]))
            stored["x"] = h5py.SoftLink("/group/x")
        return stream.getvalue()

    return [bag(), bag(chunks=True), bag(chunks=True, compression="gzip", shuffle=True)]


def npy() -> list[bytes]:
    def array(value: Any) -> bytes:
        stream = io.BytesIO()
        np.save(stream, value)
        return stream.getvalue()

    return [array(np.stack([GREY] * 3)), array(np.stack([RGB] * 3)), array(np.stack([RGB] * 3, -1).T)]


def npz(pictures: bytes | None = None) -> bytes:
    """MedMNIST's layout, of one split. pictures: the `.npy` of the pictures."""
    import zipfile

    stream, labels = io.BytesIO(), io.BytesIO()
    np.save(labels, np.array([[0], [1], [0]], np.uint8))
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("train_images.npy", npy()[0] if pictures is None else pictures)
        archive.writestr("train_labels.npy", labels.getvalue(), compress_type=zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def safetensors() -> list[bytes]:
    import torch
    from safetensors.torch import save

    tensors = {"a.weight": torch.ones(4, 3), "a.bias": torch.zeros(4, dtype=torch.bfloat16), "n": torch.tensor(3)}
    return [save(tensors), save({f"module.{name}": value for name, value in tensors.items()}, {"format": "pt"})]


def checkpoints() -> list[bytes]:
    import torch

    def saved_by_torch(content: Any, **options: Any) -> bytes:
        stream = io.BytesIO()
        torch.save(content, stream, **options)
        return stream.getvalue()

    tensors = {"a.weight": torch.ones(4, 3), "a.bias": torch.zeros(4, dtype=torch.bfloat16)}
    whole = {"state_dict": tensors, "epoch": 3, "lr": np.float64(0.1)}
    return [
        saved_by_torch(tensors),
        saved_by_torch(whole),
        saved_by_torch(whole, _use_new_zipfile_serialization=False),
        saved_by_torch(torch.ones(3), _use_new_zipfile_serialization=False),
    ]


def indexes() -> list[bytes]:
    return [
        json.dumps(
            {"metadata": {"total_size": 9}, "weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
        ).encode()
    ]


def open_clip_configs() -> list[bytes]:
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1}
    timm = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "image_size": 224}
    preprocess = {"size": [32, 32], "mean": [0.5, 0.5, 0.5], "interpolation": "bicubic"}
    return [
        json.dumps(
            {"model_cfg": {"embed_dim": 8, "vision_cfg": one, "text_cfg": text}, "preprocess_cfg": preprocess}
        ).encode()
        for one in (vision, timm)
    ]


def transformers_configs() -> list[bytes]:
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    clip = {
        "model_type": "clip",
        "projection_dim": 8,
        "text_config": {**small, "vocab_size": 99},
        "vision_config": small,
    }
    return [json.dumps(one).encode() for one in (clip, {"model_type": "bert", "vocab_size": 99, **small})]


def tokenizers() -> list[bytes]:
    return [written(write_words, "tokenizer.json")]


def write_words(path: Path) -> None:
    """`tokenizer.json`, and what belongs to it, in the folder of that path."""
    from mmkd.phantom.write import write_tokenizer

    write_tokenizer(path.parent, ["a chest radiograph"] * 3, 90, True)
