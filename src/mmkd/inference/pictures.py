"""The pictures of a source, whatever it is: for embedding, labelling and archives."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import groupby
from pathlib import Path

from PIL import Image

from mmkd.curation.records.record import Rejected
from mmkd.curation.sources.dicom_series import NEEDED
from mmkd.curation.sources.tables import SEARCHED
from mmkd.curation.sources.webdataset import TAR_SUFFIXES
from mmkd.errors import DataError
from mmkd.folders.listing import listed
from mmkd.folders.paths import IMAGE_SUFFIXES, natural_key, path_inside
from mmkd.folders.regular import check_regular
from mmkd.images.dicom import every
from mmkd.images.nifti import NIFTI_SUFFIXES
from mmkd.images.scans import Header, header_at, instance_number
from mmkd.inference.archive_pictures import pictures_of_npz, pictures_of_tar
from mmkd.inference.file_pictures import ROOT_CURE, dicom_pictures, pictures_of_file, rejected
from mmkd.inference.picture import Facts, Found, Picture, SourceOptions
from mmkd.inference.table_pictures import SAVED, pictures_of_saved, pictures_of_table
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.formats import SUFFIXES

__all__ = ["Found", "Picture", "SourceOptions", "pictures", "read"]
DEFAULTS = SourceOptions()
ARCHIVES: dict[tuple[str, ...], Callable[[Path, str, SourceOptions], Iterator[Found]]] = {
    TAR_SUFFIXES: pictures_of_tar,
    (".npz",): pictures_of_npz,
}
NAMED = (*IMAGE_SUFFIXES, *NIFTI_SUFFIXES, ".dcm", *(suffix for suffixes in ARCHIVES for suffix in suffixes))
"""Endings of files that hold pictures; DICOM files are known by their first bytes under other names as well."""


def pictures(source: Path, options: SourceOptions = DEFAULTS) -> Iterator[Found]:
    """All pictures in a fixed order, and what was met and cannot be read, each with its reason.

    source: a folder with pictures, DICOM files, NIfTI volumes, tars and npz, or with tables and nothing of these; an
    mmkd run, its corpus, or a data set that `datasets` saved; or a single file of these kinds, or a table. Ids that
    stand twice get a number. Bytes in names that are no UTF-8 are written as `\\udcff`: tables and archives hold UTF-8
    only. Raises DataError where there is nothing, ConfigError where options do not fit.
    """
    last: dict[str, int] = {}
    for found in map(_printable, _found(source, options)):
        if isinstance(found, Picture):
            name, number = found.id, last.get(found.id, 0) + 1
            while number > 1 and f"{name}#{number}" in last:  # an id that the source itself has
                number += 1
            last[name] = number
            if number > 1:
                found = replace(found, id=f"{name}#{number}")
                last[found.id] = 1
        yield found


def _printable(found: Found) -> Found:
    texts = {field.name: getattr(found, field.name) for field in fields(found)}
    odd = {name: text for name, text in texts.items() if isinstance(text, str) and not text.isascii()}
    told = {name: text.encode("utf-8", "backslashreplace").decode() for name, text in odd.items()}
    return found if told == odd else type(found)(**{**texts, **told})


def read(picture: Picture) -> Image.Image | Rejected:
    """The picture, or why there is none."""
    try:
        return picture.read()
    except BadRecordError as bad:
        return Rejected("", picture.path, picture.id, bad.reason, bad.detail)


def _found(source: Path, options: SourceOptions) -> Iterator[Found]:
    if ":/" in str(source):
        raise DataError(f"{source}: a URL; download it and give the file or folder")
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; give a folder of pictures, a table, a tar or a volume")
    try:
        check_regular(source)
    except BadRecordError as bad:
        raise DataError(f"{source}: {bad.detail}") from None
    if source.is_dir():
        yield from _of_folder(source, options)
    elif source.name.lower().endswith(SUFFIXES):
        yield from pictures_of_table(source, source.name, options)
    else:
        yield from _of_one(source.parent, source.name, options)


def _of_folder(folder: Path, options: SourceOptions) -> Iterator[Found]:
    for saved in (folder, folder / "corpus"):
        if any((saved / name).is_file() for name in SAVED):
            yield from pictures_of_saved(saved, options)
            return
    names = sorted(listed(folder, ("",)), key=_order)
    if not names:
        raise DataError(f"{folder}: no file found below it; give a folder of pictures, a table, a tar or a volume")
    has_tables_only = not any(name.lower().endswith(NAMED) for name in names)
    tables = {name for name in names if has_tables_only and name.lower().endswith(SEARCHED)}
    for _, group in groupby(names, _parent):
        yield from _of_files(folder, list(group), tables, options)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _order(name: str) -> tuple[object, object]:
    """The files of a folder stand together."""
    parent, _, base = name.rpartition("/")
    return natural_key(parent), natural_key(base)


def _of_files(folder: Path, names: Sequence[str], tables: Iterable[str], options: SourceOptions) -> Iterator[Found]:
    """The files of one folder; a series of DICOM files stands where the first of them does, in order."""
    headers = {
        name: _header(folder, name, options)
        for name in names
        if name not in tables and (name.lower().endswith(".dcm") or not name.lower().endswith((*NAMED, *SUFFIXES)))
    }
    series: dict[str, list[str]] = defaultdict(list)
    for name, read_header in headers.items():
        if not isinstance(read_header, BadRecordError):
            series[read_header["SeriesInstanceUID"]].append(name)
    for name in names:
        header = headers.get(name)
        if name in tables:
            yield from pictures_of_table(folder / name, name, options)
        elif header is None:
            yield from _of_one(folder, name, options)
        elif isinstance(header, BadRecordError):
            yield rejected(Facts("", name), _other(header))
        else:
            yield from _of_series(folder, series.pop(header["SeriesInstanceUID"], []), headers, options)


def _header(folder: Path, name: str, options: SourceOptions) -> Header | BadRecordError:
    try:
        return header_at(Path(path_inside(folder, name, options.root, ROOT_CURE)), NEEDED)
    except BadRecordError as bad:
        return bad


def _other(bad: BadRecordError) -> BadRecordError:
    known = ", ".join((*IMAGE_SUFFIXES, *NIFTI_SUFFIXES, *(suffix for suffixes in ARCHIVES for suffix in suffixes)))
    more = f"; read are DICOM files and names that end in {known}" if bad.reason == Reason.OTHER_FILE else ""
    return BadRecordError(bad.reason, f"{bad.detail}{more}")


def _of_series(
    folder: Path, names: Sequence[str], headers: dict[str, Header | BadRecordError], options: SourceOptions
) -> Iterator[Found]:
    """Nothing for a series that has been met."""
    step = 1 if options.step is None else options.step
    known = {name: header for name in names if not isinstance(header := headers[name], BadRecordError)}
    ordered = sorted(known, key=lambda name: instance_number(known[name]))
    for name in every(ordered, step):
        yield from dicom_pictures(folder, name, known[name], Facts(name, name), options, step)


def _of_one(folder: Path, name: str, options: SourceOptions) -> Iterator[Found]:
    """A file that is neither a table to be read nor one of a series."""
    lower = name.lower()
    for suffixes, reader in ARCHIVES.items():
        if lower.endswith(suffixes):
            yield from reader(folder / name, name, options)
            return
    if lower.endswith(SUFFIXES):
        detail = "a table among pictures; to embed the pictures that it names, give the table itself"
        yield rejected(Facts("", name), BadRecordError(Reason.OTHER_FILE, detail))
        return
    yield from pictures_of_file(folder, name, Facts(name, name), options, 1 if options.step is None else options.step)
