"""WebDataset tars, here or by URL: open_clip's layout (image, `txt`) and BIOMEDICA's (image, `txt`, `json`)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mmkd.curation.records.record import Excluded, Found, Record, Rejected, Shard, check_group, each_caption, group_in
from mmkd.curation.settings.sources import WebDatasetSource
from mmkd.curation.sources.biomedica import figure_facts, parse_meta
from mmkd.curation.sources.tar_samples import WANTED, DamagedTarError, Files, Pair, pairs_of, samples
from mmkd.folders.paths import files_below
from mmkd.folders.remote import File, NamedFiles, Urls, fingerprint_of, opened, stamp_of
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import caption_cell, matches

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class WebDatasetReader:
    """A tar, a folder of tars, or URLs of them; every tar is a part."""

    source: WebDatasetSource

    def shards(self) -> list[Shard]:
        shards = [TarShard(self.source, file, name) for name, file in self._tars()]
        check_group(self.source, (name for shard in shards[:1] for name in shard.names()))
        return list(shards)

    def fingerprint(self) -> str:
        return fingerprint_of(self._tars())

    def _tars(self) -> NamedFiles:
        path = self.source.path
        if isinstance(path, Urls):
            return path.files(TAR_SUFFIXES)
        if path.is_file():
            return [(path.name, path)]
        return [(name, path / name) for name in files_below(path, TAR_SUFFIXES)]


@dataclass(frozen=True)
class TarShard:
    """One tar; `name` is its path below the source, without which keys would repeat between tars."""

    source: WebDatasetSource
    file: File
    name: str

    def fingerprint(self) -> str:
        return stamp_of(self.file)

    @property
    def stem(self) -> str:
        return self.name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")

    def names(self) -> Iterator[str]:
        """What `group` is searched in, up to where the tar is damaged."""
        try:
            for key, files in self._samples():
                for pair in [] if isinstance(files, BadRecordError) else pairs_of(files):
                    yield from (name := _named(key, pair), f"{self.stem}/{name}")
        except (DamagedTarError, BadRecordError):  # it is listed where the records are read
            return

    def records(self) -> Iterator[Found]:
        unread: Counter[str] = Counter()
        try:
            for key, files in self._samples():
                if isinstance(files, BadRecordError):
                    yield self._rejected(key, "", files)
                else:
                    yield from self._sample(key, files, unread)
        except DamagedTarError as error:
            yield Rejected(self.source.name, self.name, "", Reason.DAMAGED_FILE, str(error))
        except BadRecordError as bad:
            yield Rejected(self.source.name, self.name, "", bad.reason, bad.detail)
        for kind, count in unread.items():
            detail = f"{count:,} members of samples with others that are read; read are {', '.join(WANTED)}"
            yield self._rejected(f"*.{kind}", "", BadRecordError(Reason.OTHER_FILE, detail))

    def _samples(self) -> Iterator[tuple[str, Files | BadRecordError]]:
        try:
            with opened(self.file) as stream:
                yield from samples(stream)
        except OSError as error:
            raise DamagedTarError(f"it cannot be opened: {error}") from None

    def _sample(self, key: str, files: Files, unread: Counter[str]) -> Iterator[Found]:
        """unread: kind of members that no pair takes -> how many there are."""
        pairs = pairs_of(files)
        if not pairs:
            detail = f"no image, caption or JSON among {', '.join(files)}; read are {', '.join(WANTED)}"
            yield self._rejected(key, "", BadRecordError(Reason.OTHER_FILE, detail))
            return
        taken = {extension for pair in pairs for extension in (pair.image, pair.caption, pair.meta)}
        unread.update(extension.rpartition(".")[2] for extension in files if extension not in taken)
        for pair in pairs:
            name = _named(key, pair)
            identity = f"{self.source.name}/{self.stem}/{name}"
            try:
                named = group_in(self.source, name, f"{self.stem}/{name}")
                yield from _records(self.source, identity, f"{self.name}:{name}", files, pair, named)
            except BadRecordError as bad:
                yield self._rejected(name, identity, bad)

    def _rejected(self, name: str, identity: str, bad: BadRecordError) -> Rejected:
        return Rejected(self.source.name, f"{self.name}:{name}", identity, bad.reason, bad.detail)


def _named(key: str, pair: Pair) -> str:
    return f"{key}.{pair.name}" if pair.name else key


def _records(
    source: WebDatasetSource, identity: str, where: str, files: Files, pair: Pair, named: str
) -> Iterator[Record | Excluded]:
    """One, or one of each caption. named: the group that the names tell of, for where the JSON tells of none."""
    meta = parse_meta(_content(files, pair.meta))
    if not matches(meta, source.include):
        yield Excluded(source.name)
        return
    facts = figure_facts(meta, source.captions)
    caption = _content(files, pair.caption)
    if caption_cell(caption) is None:
        caption = b""
    captions = [caption] if caption else facts.captions or ((b"",) if source.keeps_captionless else ())
    if not (image := _content(files, pair.image)) or not captions:
        lacking = "caption" if image else "image"
        raise BadRecordError(Reason.MISSING_FIELD, f"no {lacking} among {', '.join(sorted(files))}")
    record = Record(
        id=identity,
        image=image,
        caption=captions[0],
        modality=facts.modality or ("" if facts.labels else source.modality),
        group=facts.group or named or identity,
        grouped=bool(facts.group or named),
        licence=facts.licence or source.licence,
        source=source.name,
        where=where,
        labels=facts.labels,
        mention=facts.mention,
        captionless=source.keeps_captionless,
    )
    yield from each_caption(record, captions)


def _content(files: Files, extension: str) -> bytes:
    content = files.get(extension, b"")
    if isinstance(content, BadRecordError):
        raise content
    return content
