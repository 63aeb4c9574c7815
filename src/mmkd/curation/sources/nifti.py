"""NIfTI volumes in a folder per class: a record for each slice."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from mmkd.curation.records.record import Excluded, Found, Record, Rejected, Shard
from mmkd.curation.settings.curate import NiftiSource
from mmkd.curation.sources.folders import COLUMNS, check_include
from mmkd.curation.sources.groups import check_group, group_in
from mmkd.curation.sources.other_files import other_files, rejected_others, with_others
from mmkd.errors import DataError
from mmkd.folders.listing import NO_NAMES, Names
from mmkd.folders.paths import files_below, fingerprint_of_files, path_inside
from mmkd.images.encode import png
from mmkd.images.nifti import AXES, grey_window, nifti_volume, slice_picture
from mmkd.reasons import BadRecordError
from mmkd.tables.values import matches

CT = ("ct", "computed tomography")
SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class NiftiReader:
    """Classes are the first-level folders; every part is a volume."""

    source: NiftiSource

    def shards(self) -> list[Shard]:
        check_include(self.source, COLUMNS)
        files = self._files()
        check_group(self.source, files)
        parts = [NiftiShard(self.source, name) for name in files]
        return with_others(parts, Names.of(other_files(self.source.path, SUFFIXES)))

    def fingerprint(self) -> str:
        return fingerprint_of_files(self.source.path, self._files())

    def _files(self) -> list[str]:
        files = [name for name in files_below(self.source.path, SUFFIXES) if "/" in name]
        if not files:
            raise DataError(f"{self.source.path}: volumes found, but none in a folder of its class; make one per class")
        return files


@dataclass(frozen=True)
class NiftiShard:
    """One volume. others: files below the source's folder that are not read."""

    source: NiftiSource
    name: str
    others: Names = NO_NAMES

    def fingerprint(self) -> str:
        return fingerprint_of_files(self.source.path, [self.name])

    def records(self) -> Iterator[Found]:
        yield from self._slices()
        yield from rejected_others(self.source.name, self.others, SUFFIXES)

    def _slices(self) -> Iterator[Found]:
        source, identity = self.source, f"{self.source.name}/{self.name}"
        label = PurePosixPath(self.name).parts[0]
        if not matches({"class": label, "image": self.name}, source.include):
            yield Excluded(source.name)  # a volume that is not read counts once, as one that cannot be read does
            return
        axis = AXES.index(source.axis)
        try:
            is_ct = source.modality.strip().lower() in CT
            volume = nifti_volume(path_inside(source.path, self.name), is_ct)
            low, high = grey_window(volume, source.window)
            slice_picture(volume, axis, 0, low, high)  # whose shape may be refused, then for all of them
        except BadRecordError as bad:
            yield Rejected(source.name, self.name, identity, bad.reason, bad.detail)
            return
        count = volume.value_XYZ.shape[axis]
        words = source.names.get(label, label.replace("_", " "))
        for number, place in enumerate(range(count // 2 % source.step, count, source.step)):
            template = source.templates[number % len(source.templates)]
            yield Record(
                id=f"{identity}/{place:04d}",
                image=png(slice_picture(volume, axis, place, low, high), compress_level=1),
                caption=template.replace("{name}", words).replace("{plane}", source.axis),
                modality=source.modality,
                group=group_in(source, self.name) or identity,
                licence=source.licence,
                source=source.name,
                where=f"{self.name}:{place}",
            )
