"""Folders of DICOM files: slices of each series as pictures, with captions made from what the device wrote.

Of a header only the fields in `CAPTION_FIELDS` are passed on, in the words of a table. Other fields, names of files and
folders, and the messages of parsers may identify a patient: none of them leaves this module.
"""

import hashlib
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from pathlib import Path

from PIL import Image

from mmkd.curation.records.record import Excluded, Found, Record, Rejected, Shard
from mmkd.curation.settings.curate import DicomSource
from mmkd.curation.sources.folders import check_include
from mmkd.curation.sources.groups import group_in
from mmkd.errors import ConfigError
from mmkd.folders.listing import Names, files_by_folder
from mmkd.folders.paths import fingerprint_of_files, read_inside
from mmkd.folders.regular import open_regular
from mmkd.images.decode import without_warnings
from mmkd.images.dicom import PREAMBLE, dicom_frames, is_dicom, pydicom_library, read_header
from mmkd.images.encode import png
from mmkd.images.inflated import TooLargeError
from mmkd.reasons import BadRecordError, Reason

COLUMNS = ("modality", "body_part", "view", "laterality")
CAPTION_FIELDS = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "view": "ViewPosition",
    "laterality": "ImageLaterality",
}
WORDS = tomllib.loads(files("mmkd.curation.sources").joinpath("dicom_terms.toml").read_text())
UIDS = [
    "StudyInstanceUID",
    "SeriesInstanceUID",
]  # groups of several slices, where the header names no patient
NEEDED = ["SOPInstanceUID", "InstanceNumber", "BurnedInAnnotation", "Rows", "NumberOfFrames", "PatientID", *UIDS]
BURNT_IN = "burnt-in text"
DIRECTORY = "1.2.840.10008.1.3.10"  # class of a DICOMDIR, which lists the files of a medium
Header = dict[str, str]
"""The fields that are needed, as text; "" where the file has none."""


@dataclass(frozen=True)
class DicomReader:
    """The folder; every part is one of the folders in it, so that a series stays whole. Other files are rejected."""

    source: DicomSource

    def shards(self) -> list[Shard]:
        check_include(self.source, COLUMNS)
        first, shards = 0, list[DicomShard]()
        for names in files_by_folder(self.source.path):
            shards.append(DicomShard(self.source, first, names))
            first += len(names)
        if self.source.group and not any(group_in(self.source, name) for shard in shards for name in shard.files):
            raise ConfigError(  # the names of files are not quoted: they may name patients
                f"source {self.source.name!r}: group = {self.source.group!r} matches none of its {first} files"
            )
        return list(shards)

    def fingerprint(self) -> str:
        names = chain.from_iterable(files_by_folder(self.source.path))
        return fingerprint_of_files(self.source.path, names)


@dataclass(frozen=True)
class DicomShard:
    """Files of one folder. `first` is the number of the first of them in the whole source; it stands for its name."""

    source: DicomSource
    first: int
    files: Names

    def fingerprint(self) -> str:
        return fingerprint_of_files(self.source.path, self.files)

    def records(self) -> Iterator[Found]:
        series: dict[str, list[tuple[float, int, str, Header]]] = defaultdict(list)
        for number, name in enumerate(self.files, self.first):
            try:
                header = _header(self.source.path / name)
            except BadRecordError as bad:
                yield Rejected(self.source.name, f"file {number}", "", bad.reason, bad.detail)
                continue
            series[header["SeriesInstanceUID"]].append((_number(header["InstanceNumber"]), number, name, header))
        for slices in series.values():
            ordered = sorted(slices, key=lambda one: one[:2])
            for _, number, name, header in ordered[len(ordered) // 2 % self.source.step :: self.source.step]:
                yield from self._slice(number, name, header)

    def _slice(self, number: int, name: str, header: Header) -> Iterator[Found]:
        fields = caption_fields(header)
        if not all(fields.get(column, "") in values for column, values in self.source.include.items()):
            yield Excluded(self.source.name)
            return
        owner = _owner(header, group_in(self.source, name))
        instance = header["SOPInstanceUID"].strip() or f"without instance: {name}"  # de-identified files may lack it
        where, identity = f"file {number}", f"{self.source.name}/{_pseudonym(instance, self.source)}"
        burnt_in = header["BurnedInAnnotation"].upper() == "YES"
        try:
            if burnt_in and self.source.burnt_in == "drop":
                raise BadRecordError(Reason.BURNT_IN_TEXT, "BurnedInAnnotation is YES")
            for frame, picture in _pictures(self.source.path, name, self.source.frame_step):
                several = self.source.frame_step > 0 and _number(header["NumberOfFrames"]) > 1
                yield Record(
                    id=f"{identity}/{frame:04d}" if several else identity,
                    image=picture,
                    caption=caption_of(fields, self.source.templates),
                    modality=self.source.modality or fields.get("modality", ""),
                    group=f"{self.source.name}/{_pseudonym(owner or identity, self.source)}",
                    licence=self.source.licence,
                    source=self.source.name,
                    where=f"{where}:{frame}" if several else where,
                    labels=(BURNT_IN,) if burnt_in else (),
                )
        except BadRecordError as bad:
            yield Rejected(self.source.name, where, identity, bad.reason, bad.detail)


def caption_fields(header: Header) -> dict[str, str]:
    """The fields of `CAPTION_FIELDS` that the header fills with codes of `dicom_terms.toml`, in words."""
    coded = {ours: header.get(theirs, "").strip().upper() for ours, theirs in CAPTION_FIELDS.items()}
    return {ours: WORDS[ours][code] for ours, code in coded.items() if code in WORDS[ours]}


def caption_of(fields: dict[str, str], templates: list[str]) -> str:
    """The first template of which every field is known. Raises BadRecordError when there is none."""
    for template in templates:
        try:
            return template.format_map(fields)
        except KeyError:
            continue
    raise BadRecordError(
        Reason.EMPTY_CAPTION, f"no template fits the known fields ({', '.join(sorted(fields)) or 'none'})"
    )


def _header(path: Path) -> Header:
    """What is needed of the header. Raises BadRecordError, also for files that are not DICOM or hold no picture."""
    pydicom_library()
    wanted = [*NEEDED, *CAPTION_FIELDS.values()]
    try:
        with open_regular(path) as stream, without_warnings():  # they quote the values of fields
            if not is_dicom(stream.read(PREAMBLE.stop)):
                raise BadRecordError(Reason.OTHER_FILE, "it does not begin as a DICOM file does")
            header = read_header(stream, wanted)
            found = {name: str(header.get(name) or "") for name in wanted}
            directory = header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY
    except BadRecordError:
        raise
    except TooLargeError as error:
        raise BadRecordError(Reason.DECOMPRESSION_BOMB, str(error)) from None
    except Exception as error:  # parsers raise whatever a damaged header makes them stumble on
        raise BadRecordError(Reason.DAMAGED_FILE, f"its header cannot be read ({type(error).__name__})") from None
    if not found["Rows"]:
        if not found["SOPInstanceUID"] and not directory:
            raise BadRecordError(Reason.DAMAGED_FILE, "its header is cut off")
        raise BadRecordError(Reason.OTHER_FILE, "a DICOM file without a picture")
    return found


def _owner(header: Header, named: str) -> str:
    """What identifies the patient of a slice, never to be stored as it is. named: the group in the file's path."""
    found = [header["PatientID"], named, *(header[name] for name in UIDS)]
    return next((value for one in found if (value := one.strip())), "")


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return 0.0


def _pictures(folder: Path, name: str, step: int) -> Iterator[tuple[int, bytes]]:
    """Number and PNG of each frame that is taken. Raises BadRecordError, at the first that cannot be had."""
    try:
        data = read_inside(folder, name)
    except BadRecordError as bad:
        raise BadRecordError(bad.reason, "not to be read below the source's folder, or too large") from None
    frames = dicom_frames(data, step)
    while True:
        with without_warnings():  # as above
            found = next(frames, None)
        if found is None:
            return
        yield found[0], _png(found[1])


def _png(picture: Image.Image) -> bytes:
    grey = picture.convert("L")
    return png(grey if grey.convert("RGB").tobytes() == picture.tobytes() else picture, compress_level=1)


def _pseudonym(value: object, source: DicomSource) -> str:
    """A digest in place of an identifier, keyed by the source's key file: who has the file can name the patient."""
    key = hashlib.sha256(source.key.read_bytes()).digest() if source.key else b""
    return hashlib.blake2b(str(value).encode(), digest_size=12, key=key).hexdigest()
