"""The public MMKD-CLIP data folder: a line of `meta.jsonl` per record names its image and its BIOMEDICA JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmkd.curation.records.record import Excluded, Found, Record, Rejected, Shard, check_group, group_in
from mmkd.curation.settings.sources import ReferenceSource
from mmkd.curation.sources.biomedica import figure_facts, parse_meta
from mmkd.errors import DataError
from mmkd.folders.digests import file_digest
from mmkd.folders.paths import ROOT_CURE, read_inside
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.formats import Format, format_of
from mmkd.tables.spans import Row, Span
from mmkd.tables.values import as_text, caption_cell, matches

META = "meta.jsonl"


@dataclass(frozen=True)
class ReferenceReader:
    """The folder; every part is a span of lines."""

    source: ReferenceSource

    def shards(self) -> list[Shard]:
        spans = _format(self.source).spans(_table(self.source))
        check_group(self.source, _names(self.source, spans[:1]))
        return [ReferenceShard(self.source, span) for span in spans]

    def fingerprint(self) -> str:
        """SHA-256 of `meta.jsonl`; images and features are known by their names in it."""
        return file_digest(_table(self.source))


@dataclass(frozen=True)
class ReferenceShard:
    source: ReferenceSource
    span: Span

    def records(self) -> Iterator[Found]:
        for number, row in _format(self.source).rows(_table(self.source), self.span, None):
            where, identity = f"{META}:{number}", ""
            try:
                if isinstance(row, BadRecordError):
                    raise row
                identity = as_text(row.get("id"))
                wanted = matches(row, self.source.include)
                yield _record(self.source, identity, where, row) if wanted else Excluded(self.source.name)
            except BadRecordError as bad:
                yield Rejected(self.source.name, where, identity, bad.reason, bad.detail)


def _record(source: ReferenceSource, identity: str, where: str, row: Row) -> Record:
    if isinstance(row, BadRecordError) or not (identity and row.get("imgpath") and caption_cell(row.get("txt"))):
        raise BadRecordError(Reason.MISSING_FIELD, "expected id, imgpath and txt")
    image = read_inside(source.path, as_text(row["imgpath"]), source.root, ROOT_CURE)
    metapath = as_text(row.get("metapath"))
    facts = figure_facts(parse_meta(read_inside(source.path, metapath, source.root, ROOT_CURE) if metapath else b""))
    group = facts.group or group_in(source, as_text(row["imgpath"]), identity)
    return Record(
        id=identity,
        image=image,
        caption=as_text(row["txt"]),
        modality=facts.modality or ("" if facts.labels else source.modality),
        group=group or identity,
        grouped=bool(group),
        licence=facts.licence or source.licence,
        source=source.name,
        where=where,
        labels=facts.labels,
        mention=facts.mention,
    )


def _names(source: ReferenceSource, spans: list[Span]) -> Iterator[str]:
    """What `group` is searched in."""
    for span in spans:
        for _, row in _format(source).rows(_table(source), span, None):
            if not isinstance(row, BadRecordError):
                yield from (name for key in ("imgpath", "id") if isinstance(name := row.get(key), str))


def _format(source: ReferenceSource) -> Format:
    found = format_of(_table(source))
    if found is None:
        raise DataError(f"{META} is a table of JSON lines")
    return found


def _table(source: ReferenceSource) -> Path:
    path = source.path / META
    if not path.is_file():
        raise DataError(f"{source.path}: no {META} found; expected the public MMKD-CLIP data folder")
    return path
