"""The pictures of one file, or of bytes: a picture, the frames of a DICOM file, the slices of a NIfTI volume."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock

from PIL import Image

from mmkd.curation.records.record import Rejected, group_named
from mmkd.curation.sources.dicom_series import (
    NEEDED,
    UIDS,
    caption_fields,
    check_burnt_in,
    noted_of,
    pseudonym,
)
from mmkd.folders.paths import IMAGE_SUFFIXES, path_inside, read_inside
from mmkd.folders.regular import open_regular
from mmkd.images.decode import SEVERAL, decode, has_several
from mmkd.images.dicom import dicom_frame, every, is_dicom
from mmkd.images.nifti import (
    AXES,
    CT,
    NIFTI_SUFFIXES,
    Volume,
    grey_window,
    nifti_places,
    nifti_volume,
    slice_picture,
)
from mmkd.images.scans import Header, dicom_header, header_at, instance_number
from mmkd.inference.picture import Facts, Found, Picture, SourceOptions
from mmkd.reasons import BadRecordError

PAGED_SUFFIXES = (".tif", ".tiff", ".gif", ".webp", ".png")
ROOT_CURE = "; to read files from there, name a folder above them: --root FOLDER"
_LOADING = Lock()  # threads that want slices of one volume wait for one loading of it


def pictures_of_file(folder: Path, name: str, facts: Facts, options: SourceOptions, step: int) -> Iterator[Found]:
    """All of a file below the folder; step: of slices and frames. What cannot be had is rejected, never raised."""
    try:
        if name.lower().endswith(NIFTI_SUFFIXES):
            yield from _slices(path_inside(folder, name, options.root, ROOT_CURE), facts, options, step)
        elif name.lower().endswith(IMAGE_SUFFIXES):
            noted = (SEVERAL,) if _has_several(folder, name, options.root) else ()
            read = partial(_decoded_file, folder, name, options.root)
            yield _plain(facts, options, read, stamp_of(folder, name, options.root), noted)
        else:
            header = header_at(Path(path_inside(folder, name, options.root, ROOT_CURE)), NEEDED)
            yield from dicom_pictures(folder, name, header, facts, options, step)
    except BadRecordError as bad:
        yield rejected(facts, bad)


def pictures_of_bytes(data: bytes, facts: Facts, options: SourceOptions, step: int) -> Iterator[Found]:
    """A picture or a DICOM file."""
    stamp = hashlib.blake2b(data, digest_size=16).hexdigest()
    if not is_dicom(data):
        noted = (SEVERAL,) if has_several(io.BytesIO(data)) else ()
        yield _plain(facts, options, partial(decode, data), stamp, noted)
        return
    try:
        header = dicom_header(io.BytesIO(data), NEEDED)
        yield from _frames(lambda: data, header, facts, options, step, stamp)
    except BadRecordError as bad:
        yield rejected(facts, bad)


def dicom_pictures(
    folder: Path, name: str, header: Header, facts: Facts, options: SourceOptions, step: int
) -> Iterator[Found]:
    """The frames of a DICOM file whose header is read already."""
    load = partial(read_inside, folder, name, options.root, ROOT_CURE)
    try:
        yield from _frames(load, header, facts, options, step, stamp_of(folder, name, options.root))
    except BadRecordError as bad:
        yield rejected(facts, bad)


def rejected(facts: Facts, bad: BadRecordError) -> Rejected:
    """The record in its place."""
    return Rejected("", facts.path, facts.id, bad.reason, bad.detail)


def stamp_of(folder: Path, name: str, root: Path | None = None) -> str:
    """Size and time of the file that `path_inside` finds, "" where there is none."""
    try:
        found = os.stat(path_inside(folder, name, root))
    except (OSError, ValueError, BadRecordError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _decoded_file(folder: Path, name: str, root: Path | None) -> Image.Image:
    return decode(read_inside(folder, name, root, ROOT_CURE))


def _has_several(folder: Path, name: str, root: Path | None) -> bool:
    """Whether a file below the folder has pages or frames that are not read; its header is looked at."""
    if not name.lower().endswith(PAGED_SUFFIXES):
        return False
    try:
        with open_regular(path_inside(folder, name, root, ROOT_CURE)) as stream:
            return has_several(stream)
    except (OSError, ValueError, BadRecordError):  # reading it says so
        return False


def _plain(
    facts: Facts, options: SourceOptions, read: Callable[[], Image.Image], stamp: str, noted: tuple[str, ...]
) -> Picture:
    group = facts.group or group_named(options.group, facts.path, facts.id)
    modality = facts.modality or options.modality
    return Picture(facts.id, facts.path, read, facts.caption, modality, group, stamp=stamp, noted=noted)


def _frames(
    load: Callable[[], bytes], header: Header, facts: Facts, options: SourceOptions, step: int, stamp: str
) -> Iterator[Picture]:
    check_burnt_in(header, options)
    one = Picture(
        facts.id,
        facts.path,
        lambda: dicom_frame(load(), 1),
        facts.caption,
        facts.modality or options.modality or caption_fields(header).get("modality", ""),
        facts.group or _patient(header, group_named(options.group, facts.path, facts.id), options),
        _digest(header["SeriesInstanceUID"], options),
        int(instance_number(header)) or None,
        stamp,
        tuple(noted_of(header)),
    )
    count = int(header["NumberOfFrames"]) if header["NumberOfFrames"].isdecimal() else 1
    if count < 2:
        yield one
        return
    for number in every(range(1, count + 1), step):
        place = f"/{number:04d}" if step else ""
        yield replace(
            one,
            id=facts.id + place,
            read=partial(_frame, load, number),
            series=one.series if not one.series else f"{one.series}/{one.slice or 0}",
            slice=number,
            noted=one.noted if number == every(range(1, count + 1), step)[0] else (),
        )


def _frame(load: Callable[[], bytes], number: int) -> Image.Image:
    return dicom_frame(load(), number)


def _patient(header: Header, named: str, options: SourceOptions) -> str:
    """A digest of the patient's number, the group in the path, or a digest of the study's or series' number."""
    if patient := _digest(header["PatientID"], options):
        return patient
    return named or next((found for name in UIDS if (found := _digest(header[name], options))), "")


def _digest(value: str, options: SourceOptions) -> str:
    return f"dicom/{pseudonym(value.strip(), options)}" if value.strip() else ""


def _slices(path: str, facts: Facts, options: SourceOptions, step: int) -> Iterator[Picture]:
    folder, name = os.path.split(path)
    stamp = stamp_of(Path(folder), name)
    modality = facts.modality or options.modality
    group = facts.group or group_named(options.group, facts.path, facts.id)
    for place in nifti_places(path, options, step):
        yield Picture(
            f"{facts.id}/{place:04d}" if step else facts.id,
            f"{facts.path}:{place}",
            partial(_slice, path, stamp, modality.strip().lower() in CT, options, place),
            facts.caption,
            modality,
            group,
            facts.path,
            place,
            stamp,
        )


def _slice(path: str, stamp: str, is_ct: bool, options: SourceOptions, place: int) -> Image.Image:
    with _LOADING:
        found = _volume(path, stamp, is_ct, options.window)
    if isinstance(found, BadRecordError):
        raise BadRecordError(found.reason, found.detail)
    volume, low, high = found
    return slice_picture(volume, AXES.index(options.axis), place, low, high).convert("RGB")


@lru_cache(maxsize=2)  # a batch may hold slices of two volumes
def _volume(
    path: str, stamp: str, is_ct: bool, window: tuple[float, float]
) -> tuple[Volume, float, float] | BadRecordError:
    """Also remembered where it cannot be read: its slices are rejected one by one."""
    try:
        volume = nifti_volume(path, is_ct)
        return volume, *grey_window(volume, window)
    except BadRecordError as bad:
        return bad
