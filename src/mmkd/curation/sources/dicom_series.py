"""Folders of DICOM files: slices of each series as pictures, with captions made from what the device wrote.

Of a header only the fields in `CAPTION_FIELDS` are passed on, in the words of a table. Other fields, names of files and
folders, and the messages of parsers may identify a patient: none of them leaves this module.
"""

import hashlib
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import chain

from PIL import Image

from mmkd.curation.records.record import Excluded, Found, Noted, Record, Rejected, Shard, each_caption, group_in
from mmkd.curation.settings.sources import DicomKeys, DicomSource, Reports
from mmkd.curation.sources.folders import check_include
from mmkd.curation.sources.reports import check_names, file_keys, read_reports, stamped
from mmkd.errors import ConfigError
from mmkd.folders.listing import Names, files_by_folder
from mmkd.folders.paths import ROOT_CURE, fingerprint_of_files, read_inside
from mmkd.images.decode import without_warnings
from mmkd.images.dicom import dicom_frames, every
from mmkd.images.encode import png
from mmkd.images.scans import Header, header_at, instance_number
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import as_name

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
SHOWN = ["BurnedInAnnotation", "NumberOfFrames", "PatientID", *CAPTION_FIELDS.values()]
NEEDED = ["SOPInstanceUID", "InstanceNumber", "AccessionNumber", *UIDS, *SHOWN]
BURNT_IN = "burnt-in text"
KEPT_BURNT_IN, SILENT = "text burnt in, kept", "header silent on burnt-in text"  # what is noted of files
Slice = tuple[int, str, Header]
"""Number and name of a file, and its header."""


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
        if reports := self.source.reports:
            read_reports(reports)  # whose settings are checked here
            check_names(self.source.name, reports, (name for shard in shards for name in shard.files))
            shards[-1] = replace(shards[-1], is_last=True)
        if self.source.group and not any(group_in(self.source, name) for shard in shards for name in shard.files):
            raise ConfigError(  # the names of files are not quoted: they may name patients
                f"source {self.source.name!r}: group = {self.source.group!r} matches none of its {first} files"
            )
        return list(shards)

    def fingerprint(self) -> str:
        names = chain.from_iterable(files_by_folder(self.source.path))
        return stamped(fingerprint_of_files(self.source.path, names), self.source.reports)


@dataclass(frozen=True)
class DicomShard:
    """Files of one folder. `first` is the number of the first of them in the whole source; it stands for its name.

    is_last: reports without a picture are listed behind its records.
    """

    source: DicomSource
    first: int
    files: Names
    is_last: bool = False

    def fingerprint(self) -> str:
        if self.is_last:
            return DicomReader(self.source).fingerprint()
        return stamped(fingerprint_of_files(self.source.path, self.files), self.source.reports)

    def records(self) -> Iterator[Found]:
        series: dict[str, list[Slice]] = defaultdict(list)
        for number, name in enumerate(self.files, self.first):
            try:
                header = header_at(self.source.path / name, NEEDED)
            except BadRecordError as bad:
                yield Rejected(self.source.name, f"file {number}", "", bad.reason, bad.detail)
                continue
            series[header["SeriesInstanceUID"]].append((number, name, header))
        for slices in series.values():
            ordered = sorted(slices, key=lambda one: (instance_number(one[2]), one[0]))
            yield from self._series(every(ordered, self.source.step))
        if self.is_last and self.source.reports:
            table = read_reports(self.source.reports)
            yield from table.without_picture(self.source.name, _keys(self.source, self.source.reports))

    def _series(self, slices: Sequence[Slice]) -> Iterator[Found]:
        """Slices that lack a report for the same reason are listed once."""
        lacking: dict[str, tuple[BadRecordError, list[int]]] = {}
        for number, name, header in slices:
            fields = caption_fields(header)
            if not all(fields.get(column, "") in values for column, values in self.source.include.items()):
                yield Excluded(self.source.name)
                continue
            try:
                captions, labels = self._report(name, header)
            except BadRecordError as bad:
                lacking.setdefault(bad.detail, (bad, []))[1].append(number)
                continue
            yield from self._slice(number, name, header, captions, labels)
        for refused, numbers in lacking.values():
            detail = f"{refused.detail} (files of this series: {len(numbers)})"
            yield Rejected(self.source.name, f"file {numbers[0]}", "", refused.reason, detail)

    def _report(self, name: str, header: Header) -> tuple[list[str | bytes], tuple[str, ...]]:
        """Captions and labels from the reports, nothing where the source has none."""
        if (reports := self.source.reports) is None:
            return [], ()
        return read_reports(reports).captions(_keys_of(name, header, reports), self.source.keeps_captionless)

    def _slice(
        self, number: int, name: str, header: Header, captions: list[str | bytes], labels: tuple[str, ...]
    ) -> Iterator[Found]:
        fields, owner = caption_fields(header), _owner(header, group_in(self.source, name), self.source.reports)
        instance = header["SOPInstanceUID"].strip() or f"without instance: {name}"  # de-identified files may lack it
        where, identity = f"file {number}", f"{self.source.name}/{pseudonym(instance, self.source)}"
        try:
            captions = captions or [self._made_caption(fields)]
            for frame, picture in shown_frames(_data(self.source, name), header, self.source):
                record = Record(
                    id=f"{identity}/{frame:04d}" if frame else identity,
                    image=picture,
                    caption=captions[0],
                    modality=self.source.modality or fields.get("modality", ""),
                    group=f"{self.source.name}/{pseudonym(owner or identity, self.source)}",
                    grouped=bool(owner),
                    licence=self.source.licence,
                    source=self.source.name,
                    where=f"{where}:{frame}" if frame else where,
                    labels=(*labels_of(header), *labels),
                    captionless=self.source.keeps_captionless,
                )
                yield from each_caption(record, captions)
            yield from (Noted(self.source.name, what) for what in noted_of(header))
        except BadRecordError as bad:
            yield Rejected(self.source.name, where, identity, bad.reason, bad.detail)

    def _made_caption(self, fields: dict[str, str]) -> str:
        """From the header; "" where the source keeps pictures without captions and gives no template that fits."""
        if not self.source.makes_captions:
            return ""
        try:
            return caption_of(fields, self.source.templates)
        except BadRecordError:
            if self.source.keeps_captionless:
                return ""
            raise


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


def _data(source: DicomSource, name: str) -> bytes:
    """Raises BadRecordError that does not name the file."""
    try:
        return read_inside(source.path, name, source.root)
    except BadRecordError as bad:
        cure = ROOT_CURE if bad.reason == Reason.OUTSIDE_FOLDER else ""
        detail = f"not to be read below the source's folder, or too large{cure}"
        raise BadRecordError(bad.reason, detail) from None


def _keys(source: DicomSource, reports: Reports) -> Iterator[list[str]]:
    """Under which keys each picture may have its report; nothing of files that have none."""
    for name in chain.from_iterable(files_by_folder(source.path)):
        try:
            header = {} if reports.key in ("file", "name") else header_at(source.path / name, [reports.key])
            yield _keys_of(name, header, reports)
        except BadRecordError:  # it is listed where the records are read
            continue


def _keys_of(name: str, header: Header, reports: Reports) -> list[str]:
    return file_keys(name, reports) if reports.key in ("file", "name") else [as_name(header[reports.key])]


def _owner(header: Header, named: str, reports: Reports | None) -> str:
    """What identifies the patient of a slice, never to be stored as it is. named: the group in the file's path.

    Pictures with one report stay in one group."""
    shared = [header["AccessionNumber"]] if reports and reports.key == "AccessionNumber" else []
    found = [header["PatientID"], named, *shared, *(header[name] for name in UIDS)]
    return next((value for one in found if (value := one.strip())), "")


def shown_frames(data: bytes, header: Header, keys: DicomKeys) -> Iterator[tuple[int, bytes]]:
    """Number and PNG of each frame that is taken; the number is 0 where the file stands for one picture.

    Raises BadRecordError, at the first that cannot be had, and for burnt-in text that is to be dropped.
    """
    check_burnt_in(header, keys)
    several = keys.frame_step > 0 and header["NumberOfFrames"] not in ("", "1")
    frames = dicom_frames(data, keys.frame_step)
    while True:
        with without_warnings():  # they quote the values of fields
            found = next(frames, None)
        if found is None:
            return
        yield (found[0] if several else 0), _png(found[1])


def check_burnt_in(header: Header, keys: DicomKeys) -> None:
    """Raises BadRecordError for burnt-in text that is to be dropped."""
    if _is_burnt_in(header) and keys.burnt_in == "drop":
        raise BadRecordError(Reason.BURNT_IN_TEXT, "BurnedInAnnotation is YES")


def labels_of(header: Header) -> tuple[str, ...]:
    """That text is burnt in, where the header says so."""
    return (BURNT_IN,) if _is_burnt_in(header) else ()


def noted_of(header: Header) -> list[str]:
    """What a file that is read is counted for, nothing where the header says that no text is burnt in."""
    silent = not header["BurnedInAnnotation"].strip()
    return [SILENT] if silent else [KEPT_BURNT_IN] if _is_burnt_in(header) else []


def _is_burnt_in(header: Header) -> bool:
    return header["BurnedInAnnotation"].upper() == "YES"


def _png(picture: Image.Image) -> bytes:
    grey = picture.convert("L")
    return png(grey if grey.convert("RGB").tobytes() == picture.tobytes() else picture, compress_level=1)


def pseudonym(value: object, source: DicomKeys) -> str:
    """A digest in place of an identifier, keyed by the source's key file: who has the file can name the patient."""
    key = hashlib.sha256(source.key.read_bytes()).digest() if source.key else b""
    return hashlib.blake2b(str(value).encode(), digest_size=12, key=key).hexdigest()
