"""The pictures of archives: WebDataset tars, and NumPy archives in MedMNIST's layout."""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mmkd.curation.records.record import Rejected
from mmkd.curation.sources.biomedica import figure_facts, parse_meta
from mmkd.curation.sources.npz import DAMAGE, image_shape, stored_images
from mmkd.curation.sources.tar_samples import WANTED, DamagedTarError, Files, Pair, pairs_of, samples
from mmkd.errors import DataError
from mmkd.folders.digests import bytes_digest
from mmkd.folders.regular import open_regular
from mmkd.inference.file_pictures import pictures_of_bytes, rejected
from mmkd.inference.picture import Facts, Found, Picture, SourceOptions
from mmkd.reasons import BadRecordError, Reason


def pictures_of_tar(path: Path, name: str, options: SourceOptions) -> Iterator[Found]:
    """All up to where it is damaged. name: the tar below the source."""
    facts = Facts("", name)
    try:
        with open_regular(path) as stream:
            for key, files in samples(stream):
                if isinstance(files, BadRecordError):
                    yield rejected(Facts("", f"{name}:{key}"), files)
                else:
                    yield from _of_sample(name, key, files, options)
    except (DamagedTarError, OSError) as error:
        yield Rejected("", name, "", Reason.DAMAGED_FILE, str(error))
    except BadRecordError as bad:
        yield rejected(facts, bad)


def _of_sample(tar: str, key: str, files: Files, options: SourceOptions) -> Iterator[Found]:
    pairs = [pair for pair in pairs_of(files) if pair.image]
    if not pairs:
        detail = f"no picture among {', '.join(files)}; read are {', '.join(WANTED)}"
        yield rejected(Facts("", f"{tar}:{key}"), BadRecordError(Reason.OTHER_FILE, detail))
    for pair in pairs:
        where = f"{tar}:{key}.{pair.name}" if pair.name else f"{tar}:{key}"
        try:
            data, facts = _content(files, pair.image), _facts(where, files, pair)
        except BadRecordError as bad:
            yield rejected(Facts(where, where), bad)
        else:
            yield from pictures_of_bytes(data, facts, options, options.step or 0)


def _facts(where: str, files: Files, pair: Pair) -> Facts:
    found = figure_facts(parse_meta(_content(files, pair.meta)), "first")
    caption = _content(files, pair.caption).decode(errors="replace") or next(iter(found.captions), "")
    return Facts(where, where, caption, found.modality, found.group)


def _content(files: Files, extension: str) -> bytes:
    content = files.get(extension, b"")
    if isinstance(content, BadRecordError):
        raise content
    return content


def pictures_of_npz(path: Path, name: str, options: SourceOptions) -> Iterator[Found]:
    """Every array of grey or RGB pictures of 8 bits in it. Raises DataError where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            shapes = {member: _shape(archive, member) for member in archive.namelist() if member.endswith(".npy")}
    except DAMAGE as error:
        yield Rejected("", name, "", Reason.DAMAGED_FILE, f"not a readable NumPy archive ({error})")
        return
    if not any(shapes.values()):
        expected = "expected uint8 (N, H, W) or (N, H, W, 3)"
        raise DataError(f"{path}: no array of pictures among {', '.join(shapes) or 'no arrays'}; {expected}")
    for member, count in shapes.items():
        if count:
            yield from _of_array(path, name, member.removesuffix(".npy"), count, options)


def _shape(archive: zipfile.ZipFile, member: str) -> int:
    """How many pictures an array has, 0 where it holds something else."""
    with archive.open(member) as stream:
        try:
            return image_shape(stream)[0]
        except ValueError:
            return 0


def _of_array(path: Path, name: str, array: str, count: int, options: SourceOptions) -> Iterator[Found]:
    row = -1
    try:
        for row, pixels in enumerate(stored_images(path, array, 0, count)):
            where = f"{name}:{array}[{row}]"
            stamp = bytes_digest(pixels.tobytes())
            yield Picture(where, where, partial(_rgb, pixels), modality=options.modality, stamp=stamp)
    except DAMAGE as error:
        detail = f"pictures {row + 1} to {count - 1} cannot be read: {error}"
        yield Rejected("", f"{name}:{array}[{row + 1}]", "", Reason.DAMAGED_FILE, detail)


def _rgb(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels).convert("RGB")
