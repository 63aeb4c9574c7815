"""NIfTI volumes in a folder per class: a record for each slice."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from mmkd.curation.records.record import Excluded, Found, Record, Rejected, Shard, check_group, each_caption, group_in
from mmkd.curation.settings.sources import NiftiSource
from mmkd.curation.sources.folders import COLUMNS, check_include
from mmkd.curation.sources.other_files import other_files, rejected_others, with_others
from mmkd.curation.sources.reports import check_names, file_keys, read_reports, stamped
from mmkd.errors import DataError
from mmkd.folders.listing import NO_NAMES, Names
from mmkd.folders.paths import ROOT_CURE, files_below, fingerprint_of_files, path_inside
from mmkd.images.encode import png
from mmkd.images.nifti import NIFTI_SUFFIXES, nifti_slices
from mmkd.reasons import BadRecordError
from mmkd.tables.values import matches


@dataclass(frozen=True)
class NiftiReader:
    """Classes are the first-level folders, where captions are made from them; every part is a volume."""

    source: NiftiSource

    def shards(self) -> list[Shard]:
        check_include(self.source, COLUMNS)
        files, reports = self._files(), self.source.reports
        check_group(self.source, files)
        if reports:
            read_reports(reports)  # whose settings are checked here
            check_names(self.source.name, reports, files)
        parts = [NiftiShard(self.source, name, is_last=bool(reports) and name == files[-1]) for name in files]
        return with_others(
            parts, Names.of(other_files(self.source.path, NIFTI_SUFFIXES, in_classes=self.source.makes_captions))
        )

    def fingerprint(self) -> str:
        return stamped(fingerprint_of_files(self.source.path, self._files()), self.source.reports)

    def _files(self) -> list[str]:
        files = files_below(self.source.path, NIFTI_SUFFIXES)
        if self.source.makes_captions and not (files := [name for name in files if "/" in name]):
            raise DataError(
                f"{self.source.path}: volumes found, but none in a folder of its class; make one per class, "
                "or name their reports"
            )
        return files


@dataclass(frozen=True)
class NiftiShard:
    """One volume. others: files below the source's folder that are not read. is_last: they, and reports without a
    picture, are listed behind its records."""

    source: NiftiSource
    name: str
    others: Names = NO_NAMES
    is_last: bool = False

    def fingerprint(self) -> str:
        if self.is_last:
            return NiftiReader(self.source).fingerprint()
        return stamped(fingerprint_of_files(self.source.path, [self.name]), self.source.reports)

    def records(self) -> Iterator[Found]:
        yield from self._slices()
        yield from rejected_others(self.source.name, self.others, NIFTI_SUFFIXES)
        if self.is_last and (reports := self.source.reports):
            names = files_below(self.source.path, NIFTI_SUFFIXES)
            keys = (file_keys(name, reports) for name in names)
            yield from read_reports(reports).without_picture(self.source.name, keys)

    def _slices(self) -> Iterator[Found]:
        source, identity = self.source, f"{self.source.name}/{self.name}"
        label = PurePosixPath(self.name).parts[0] if "/" in self.name else ""
        if not matches({"class": label, "image": self.name}, source.include):
            yield Excluded(source.name)  # a volume that is not read counts once, as one that cannot be read does
            return
        captions, labels = list[str | bytes](), tuple[str, ...]()
        words = source.names.get(label, label.replace("_", " "))
        try:
            if source.reports:
                keys = file_keys(self.name, source.reports)
                captions, labels = read_reports(source.reports).captions(keys, source.keeps_captionless)
            elif not source.makes_captions:
                captions = [""]
            path = path_inside(source.path, self.name, source.root, ROOT_CURE)
            group = group_in(source, self.name) or self._reported()
            for number, (place, picture) in enumerate(nifti_slices(path, source, source.step, source.modality)):
                template = source.templates[number % len(source.templates)]
                made = captions or [template.replace("{name}", words).replace("{plane}", source.axis)]
                record = Record(
                    id=f"{identity}/{place:04d}",
                    image=png(picture, compress_level=1),
                    caption=made[0],
                    modality=source.modality,
                    group=group or identity,
                    grouped=bool(group),
                    licence=source.licence,
                    source=source.name,
                    where=f"{self.name}:{place}",
                    labels=labels,
                    captionless=source.keeps_captionless,
                )
                yield from each_caption(record, made)
        except BadRecordError as bad:
            yield Rejected(source.name, self.name, identity, bad.reason, bad.detail)

    def _reported(self) -> str:
        """The key of the report, whose volumes stay in one group."""
        if (reports := self.source.reports) is None:
            return ""
        found = read_reports(reports).of
        return next((f"{self.source.name}/{key}" for key in file_keys(self.name, reports) if key in found), "")
