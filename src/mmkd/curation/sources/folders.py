"""A folder of images per class, with captions made from class names."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath

from mmkd.curation.records.record import Excluded, Found, Noted, Record, Rejected, Shard, check_group, group_in
from mmkd.curation.settings.sources import FoldersSource, NpzSource, Source
from mmkd.curation.sources.groups import check_all_grouped, table_group
from mmkd.curation.sources.other_files import other_files, rejected_others, with_others
from mmkd.curation.sources.wrong_captions import DRAWN, drawn_class
from mmkd.errors import ConfigError, DataError
from mmkd.folders.digests import json_digest
from mmkd.folders.listing import NO_NAMES, Names, files_in_order
from mmkd.folders.paths import IMAGE_SUFFIXES, ROOT_CURE, fingerprint_of_files, read_inside, stamp_of
from mmkd.reasons import BadRecordError
from mmkd.tables.spans import ROWS_PER_SHARD
from mmkd.tables.values import matches

COLUMNS = ("class", "image")  # what `include` can select by


@dataclass(frozen=True)
class FoldersReader:
    """Classes are the first-level folders; images may lie deeper in them. Other files are rejected. Pictures without
    captions may lie anywhere."""

    source: FoldersSource

    def shards(self) -> list[Shard]:
        check_include(self.source, COLUMNS)
        check_group(self.source, self._files())
        check_all_grouped(self.source, self._files())
        names, shards, first = self._files(), list[FoldersShard](), 0
        classes = self._classes() if self.source.wrong_captions else ()
        while chunk := list(islice(names, ROWS_PER_SHARD)):
            shards.append(FoldersShard(self.source, first, Names.of(chunk), classes))
            first += len(chunk)
        return with_others(shards, Names.of(other_files(self.source.path, IMAGE_SUFFIXES, self._in_classes)))

    def fingerprint(self) -> str:
        return _with_groups(fingerprint_of_files(self.source.path, self._files()), self.source)

    @property
    def _in_classes(self) -> bool:
        return not self.source.keeps_captionless

    def _classes(self) -> tuple[str, ...]:
        """Those that `include` selects, sorted."""
        chosen = {key: values for key, values in self.source.include.items() if key == "class"}
        found = {PurePosixPath(name).parts[0] for name in self._files()}
        return tuple(sorted(label for label in found if matches({"class": label}, chosen)))

    def _files(self) -> Iterator[str]:
        found = False
        for name in files_in_order(self.source.path, IMAGE_SUFFIXES):
            if "/" in name or not self._in_classes:
                found = True
                yield name
        if not found:
            raise DataError(f"{self.source.path}: images found, but none in a folder of its class; make one per class")


@dataclass(frozen=True)
class FoldersShard:
    """`first` is the number of the first of `files` in the whole source: templates take turns over all of it. classes:
    of the whole source, where captions are drawn from them. others: files below the source's folder that are not
    read."""

    source: FoldersSource
    first: int
    files: Names
    classes: tuple[str, ...] = ()
    others: Names = NO_NAMES

    def fingerprint(self) -> str:
        return _with_groups(fingerprint_of_files(self.source.path, self.files), self.source)

    def records(self) -> Iterator[Found]:
        for number, name in enumerate(self.files, self.first):
            label, group = PurePosixPath(name).parts[0] if "/" in name else "", self._group(name)
            if not matches({"class": label, "image": name}, self.source.include) or not self._is_in_part(group or name):
                yield Excluded(self.source.name)
                continue
            identity = f"{self.source.name}/{name}"
            try:
                image = read_inside(self.source.path, name, self.source.root, ROOT_CURE)
            except BadRecordError as bad:
                yield Rejected(self.source.name, name, identity, bad.reason, bad.detail)
                continue
            if drawn := drawn_class(self.source, name, self.classes):
                yield Noted(self.source.name, DRAWN)
                label = drawn
            words = self.source.names.get(label, label.replace("_", " "))
            yield labelled_record(self.source, identity, name, image, words, number, group)
        yield from rejected_others(self.source.name, self.others, IMAGE_SUFFIXES)

    def _group(self, name: str) -> str:
        """ "" for a picture that is its own group."""
        return table_group(self.source, name) or group_in(self.source, name, f"{self.source.name}/{name}")

    def _is_in_part(self, group: str) -> bool:
        return self.source.part is None or self.source.part.has(group)


def labelled_record(
    source: FoldersSource | NpzSource, identity: str, where: str, image: bytes, words: str, number: int, group: str = ""
) -> Record:
    """A record whose caption is the class in words, put into the template whose turn it is; without a caption where the
    source is a folder of such pictures. group: "" for its own."""
    template = source.templates[number % len(source.templates)]
    captionless = isinstance(source, FoldersSource) and source.keeps_captionless
    return Record(
        id=identity,
        image=image,
        caption="" if captionless else template.replace("{name}", words),
        modality=source.modality,
        group=group or identity,
        licence=source.licence,
        source=source.name,
        where=where,
        captionless=captionless,
        grouped=bool(group),
    )


def _with_groups(content: str, source: FoldersSource) -> str:
    """A fingerprint of pictures, and where a table groups them, of it."""
    return json_digest([content, stamp_of(source.groups)]) if source.groups else content


def check_include(source: Source, columns: tuple[str, ...]) -> None:
    """Raise ConfigError when `include` names a column that this kind of source does not have."""
    if unknown := sorted(set(source.include) - set(columns)):
        raise ConfigError(
            f"source {source.name!r}: include selects by {', '.join(columns)}, not by {', '.join(unknown)}"
        )
