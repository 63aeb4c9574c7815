"""Every parser of files from outside, in one table: a parser is fuzzed by standing in it.

Each is called as the pipeline calls it. It may give reasons (of records that are not read), or raise BadRecordError or
an MmkdError; whatever else it raises is a fault.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import fuzz_seeds as seeds
from fuzz_mutations import mutated

from mmkd.cards.card import Card
from mmkd.cards.catalogue import read_card
from mmkd.cards.layouts import H5Layout, NpzLayout
from mmkd.cards.readers.arrays import read_h5, read_npz
from mmkd.cards.readers.tables import table_rows
from mmkd.curation.records.record import Rejected
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.sources.biomedica import figure_facts, parse_meta
from mmkd.curation.sources.kinds import open_source
from mmkd.errors import MmkdError
from mmkd.evaluation.slides.bags import read_bag
from mmkd.images.decode import decode
from mmkd.images.slide_tiles import Tiles, tile_slide
from mmkd.images.store import stored_image
from mmkd.pipeline.recipe import load_recipe
from mmkd.reasons import BadRecordError
from mmkd.teachers.files.checkpoint import check_header, read_state_dict
from mmkd.teachers.files.open_clip_folder import WEIGHTS, build_network, hf_tokenizer, read_config
from mmkd.teachers.load import check_files
from mmkd.teachers.zoo.settings import TeacherSpec

ACCEPTED = "accepted"
MENDED = 0.7  # of the damaged files get right checksums, without which most readers stop at once
Read = Callable[[Path], object]  # its iterator, if it gives one, is of reasons


def as_it_is(data: bytes) -> bytes:
    return data


@dataclass(frozen=True)
class Parser:
    """file: the name of an input below a folder of its own. reads: all readers of such a file, for curation and for
    evaluation. words: of the format. mended: what makes the damage look whole: checksums, compression."""

    file: str
    seeds: Callable[[], list[bytes]]
    reads: tuple[Read, ...]
    words: tuple[bytes, ...] = ()
    mended: Callable[[bytes], bytes] = as_it_is
    always: bool = False  # mended, since the file is nothing without it

    def damaged(self, random: Random, sound: list[bytes]) -> bytes:
        data = mutated(random, sound, self.words)
        return self.mended(data) if self.always or random.random() < MENDED else data

    def outcome(self, folder: Path, data: bytes) -> str:
        """What the first reader says, once all have read the file: ACCEPTED or why not. Raises what is a fault."""
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        first, *_ = [_outcome(read, path) for read in self.reads]
        return first


def _outcome(read: Read, path: Path) -> str:
    try:
        given = read(path)
        return next(iter([str(reason) for reason in given] if isinstance(given, Iterator) else ()), ACCEPTED)
    except BadRecordError as bad:
        return str(bad.reason)
    except MmkdError as error:
        return type(error).__name__


def source(kind: str, up: int, **keys: Any) -> Read:
    """All records of a source of this kind. up: how many folders above the file its path is."""

    def read(path: Path) -> Iterator[str]:
        if kind == "table":
            (path.parent / seeds.BESIDE).write_bytes(seeds.png()[0])
        place = chain([path], path.parents)
        own = {"kind": kind, "name": "fuzz", "path": [*place][up], **keys}
        (settings,) = CurateSettings.model_validate({"sources": [own]}).sources
        for shard in open_source(settings).shards():
            yield from (str(found.reason) for found in shard.records() if isinstance(found, Rejected))

    return read


def table_of_a_card(path: Path) -> None:
    for _, row in table_rows(path):
        for cell in row.values():
            if hasattr(cell, "read"):
                cell.read()


def card(layout: H5Layout | NpzLayout) -> Card:
    classes = [{"name": "a"}, {"name": "b"}]
    facts = {"id": "fuzz", "modality": "ct", "tasks": ["linear_probe"], "licence": "CC0", "classes": classes}
    return Card.model_validate({**facts, "layout": layout.model_dump()})


def pictures_in_hdf5(path: Path) -> None:
    layout = H5Layout(reader="h5", pictures={"test": path}, truths={"test": path})
    for sample in read_h5(card(layout), layout):
        sample.image.read()


def pictures_in_npz(path: Path) -> None:
    layout = NpzLayout(reader="npz", path=path)
    for sample in read_npz(card(layout), layout):
        sample.image.read()


def tiles(path: Path) -> None:
    for tile in tile_slide(path, Tiles(side=32, mpp=0.5, slide_mpp=0.5, most=4)):
        tile.read()


def model_folder(path: Path) -> None:
    """As preflight looks at it, and the network it describes."""
    (path.parent / WEIGHTS).write_bytes(seeds.safetensors()[0])
    check_files(TeacherSpec(name="fuzz", model=f"local-dir:{path.parent}"))
    described = read_config(path.parent)
    build_network(described["model_cfg"], described.get("preprocess_cfg"))


def transformers_folder(path: Path) -> None:
    (path.parent / "model.safetensors").write_bytes(seeds.safetensors()[0])
    check_files(TeacherSpec(name="fuzz", library="transformers", model=str(path.parent)))


def tokenizer(path: Path) -> None:
    data = path.read_bytes()
    seeds.write_words(path)
    path.write_bytes(data)
    hf_tokenizer(str(path.parent), 16)(["a chest radiograph \u00e4 \U0001f600"])


def parts(path: Path) -> None:
    for name in ("part-1.safetensors", "part-2.safetensors"):
        (path.parent / name).write_bytes(seeds.safetensors()[0])
    weights(path)


def weights(path: Path) -> None:
    check_header(path)
    read_state_dict(path)


PICTURES: tuple[Read, ...] = (
    lambda path: decode(path.read_bytes()),
    lambda path: stored_image(path.read_bytes(), 16, 512, 89_478_485),
)
TABLES: tuple[Read, ...] = (source("table", 0), table_of_a_card)
VOLUMES: tuple[Read, ...] = (source("nifti", 2, modality="CT"),)
TARS: tuple[Read, ...] = (source("webdataset", 0, captions="all"),)
DELIMITED = (b",", b";", b"\t", b'""', b'"\n', b"sep=;\n")
JSON = (b'{"bytes": "x"}', b'{"a": 1, "a": 2}', b"1e400", b"-", b'"\\ud800"', b"NaN", b"[[1]]")
TOML = (b"\n[a]\n", b"[[a]]", b"inf", b"1979-05-27", b'"""', b"= {a.b = 1}", b"true", b"[1, 'a', {}]", b'"\\u0000"')
DICOM = (b"SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"1e999", b"OW\0\0", b"UN\0\0", b"\\nan\\")
TIFF = (b"\0\1\4\0\1\0\0\0\xff\xff\xff\x7f", b"\1\1\4\0\1\0\0\0\xff\xff\xff\x7f", b"\3\1\3\0\1\0\0\0\7\0\0\0")

PARSERS: dict[str, Parser] = {
    "JPEG": Parser(
        "a.jpg", seeds.jpeg, PICTURES, (b"\xff\xd9", b"\xff\xda", b"\xff\xe1\xff\xff", b"\xff" * 9999 + b"\0")
    ),
    "PNG": Parser("a.png", seeds.png, PICTURES, (b"IDAT", b"tRNS", b"acTL", b"zTXt"), seeds.with_png_checksums),
    "WebP": Parser("a.webp", seeds.webp, PICTURES, (b"VP8X", b"ANMF", b"ALPH")),
    "BMP": Parser("a.bmp", seeds.bmp, PICTURES),
    "GIF": Parser("a.gif", seeds.gif, PICTURES, (b"\x21\xf9\x04", b"\x2c")),
    "TIFF": Parser("a.tif", seeds.tiff, PICTURES, TIFF),
    "DICOM": Parser("a/a.dcm", seeds.dicom, (source("dicom", 2, frame_step=1), PICTURES[0]), DICOM),
    "NIfTI": Parser("a/a.nii", seeds.nifti, VOLUMES),
    "NIfTI, gzip": Parser("a/a.nii.gz", seeds.nifti, VOLUMES, mended=seeds.gzipped, always=True),
    "tar": Parser("a.tar", seeds.tar, TARS, (b"\x80", b"\xff" * 12, b"11 path=x\n"), seeds.with_tar_checksums),
    "tar, gzip": Parser(
        "a.tar.gz", seeds.tar, TARS, mended=lambda data: seeds.gzipped(seeds.with_tar_checksums(data)), always=True
    ),
    "CSV": Parser("a.csv", lambda: seeds.text_tables(",") + seeds.text_tables(";"), TABLES, DELIMITED),
    "TSV": Parser("a.tsv", lambda: seeds.text_tables("\t"), TABLES, DELIMITED),
    "JSON lines": Parser("a.jsonl", seeds.json_lines, TABLES, JSON),
    "JSON": Parser("a.json", seeds.json_lists, TABLES, JSON),
    "Parquet": Parser("a.parquet", seeds.parquet, TABLES),
    "Arrow": Parser("a.arrow", seeds.arrow, TABLES),
    "MMKD-CLIP folder": Parser("meta.jsonl", seeds.json_lines, (source("reference", 1),), JSON),
    "BIOMEDICA JSON": Parser(
        "a.json", seeds.figures, (lambda path: figure_facts(parse_meta(path.read_bytes()), "all"),), JSON
    ),
    "NumPy archive": Parser(
        "a.npz", lambda: [seeds.npz()], (source("npz", 0, classes=["a", "b"], splits=["train"]), pictures_in_npz)
    ),
    "card": Parser("a.toml", seeds.cards, (lambda path: read_card(path, {}),), TOML),
    "recipe": Parser("a.toml", seeds.recipes, (lambda path: load_recipe(path, path.parent),), TOML),
    "HDF5": Parser("a.h5", seeds.hdf5, (read_bag, pictures_in_hdf5)),
    "slide": Parser("a.tif", seeds.slides, (tiles,), TIFF),
    "safetensors": Parser("a.safetensors", seeds.safetensors, (weights,), (b'"dtype":"F4"', b'"shape":[0]', b"[4,9]")),
    "checkpoint": Parser("a.pt", seeds.checkpoints, (weights,), (b"cos\nsystem\n", b"PK\5\6", b"\x80\2")),
    "checkpoint index": Parser("a.safetensors.index.json", seeds.indexes, (parts,), JSON),
    "open_clip config": Parser("open_clip_config.json", seeds.open_clip_configs, (model_folder,), JSON),
    "transformers config": Parser("config.json", seeds.transformers_configs, (transformers_folder,), JSON),
    "tokenizer": Parser("tokenizer.json", seeds.tokenizers, (tokenizer,), JSON),
}
PARSERS["NumPy array"] = Parser("a.npz", seeds.npy, PARSERS["NumPy archive"].reads, mended=seeds.npz, always=True)


def random_of(seed: int, name: str, number: int) -> Random:
    """That of one input, by which it can be made again."""
    return Random(f"{seed} {name} {number}")
