"""Reports in a table, joined with pictures by a key that both have. No key is ever quoted: it may name a patient."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from mmkd.curation.records.record import Rejected
from mmkd.curation.settings.sources import Reports
from mmkd.errors import ConfigError, DataError
from mmkd.folders.digests import json_digest
from mmkd.folders.paths import stamp_of
from mmkd.folders.regular import irregular
from mmkd.reasons import NO_CAPTION, BadRecordError, Reason
from mmkd.tables.formats import dialect_of, format_of, unknown_table
from mmkd.tables.sections import WHOLE_REPORT, chosen_sections
from mmkd.tables.spans import Row
from mmkd.tables.values import as_name, captions_in

SEVERAL = 'different reports have this key; set captions = "first" or "all" in reports'


@dataclass
class Report:
    """All reports of one key that differ. row: the first of them. refused: a row of this key without one, and why."""

    row: int
    texts: list[Any] = field(default_factory=list)
    labels: tuple[str, ...] = ()
    refused: tuple[int, BadRecordError] | None = None

    @property
    def says_nothing(self) -> bool:
        """Whether it is empty, or has none of the sections that are asked for."""
        return not self.texts and self.refused is not None and self.refused[1].reason in NO_CAPTION


@dataclass(frozen=True)
class ReportTable:
    """of: key -> report. unusable: rows that cannot be joined, and why."""

    settings: Reports
    of: Mapping[str, Report]
    unusable: Sequence[tuple[int, BadRecordError]]

    def captions(self, keys: Sequence[str], captionless: bool = False) -> tuple[list[str | bytes], tuple[str, ...]]:
        """The captions of a picture that may have its report under each of these keys, and its labels.

        captionless: one "" where there is no report, or one without what is asked of it. Raises BadRecordError where
        there is none, or several of which nobody says which one is meant.
        """
        report = next((self.of[key] for key in keys if key in self.of), None)
        if captionless and (report is None or report.says_nothing):
            return [""], ()
        if report is None:
            lacking = "no report has its" if any(keys) else "it lacks the"
            raise BadRecordError(Reason.MISSING_REPORT, f"{lacking} {self.settings.key}")
        if report.refused and not report.texts:
            raise report.refused[1]
        if len(report.texts) > 1 and self.settings.captions == "one":
            raise BadRecordError(Reason.MISSING_REPORT, f"{len(report.texts)} {SEVERAL}")
        return report.texts if self.settings.captions == "all" else report.texts[:1], report.labels

    def without_picture(self, source: str, pictures: Iterable[Sequence[str]]) -> Iterator[Rejected]:
        """Each row that cannot be joined, and each report for which no picture has the key. pictures: their keys."""
        left = dict(self.of)
        for keys in pictures:
            left.pop(next((key for key in keys if key in self.of), ""), None)
            if not left:
                break
        detail = f"the source has no picture with this {self.settings.key}"
        missing = BadRecordError(Reason.MISSING_PICTURE, detail)
        for row, bad in sorted(
            [*self.unusable, *((one.row, missing) for one in left.values())], key=lambda one: one[0]
        ):
            yield Rejected(source, f"{self.settings.path.name}:{row}", "", bad.reason, bad.detail)


def file_keys(name: str, reports: Reports) -> list[str]:
    """What a table may call a file: its path and the folders above it, or its name."""
    path = PurePosixPath(as_name(name))
    if reports.key == "name":
        return [path.name]
    return [str(path), *(str(folder) for folder in path.parents if folder.name)]


def check_names(source: str, reports: Reports, names: Iterable[str]) -> None:
    """Raise ConfigError where a report's key is the name of several files. Names are not quoted."""
    if reports.key != "name":
        return
    table, seen, twice = read_reports(reports), set[str](), set[str]()
    for name in names:
        [key] = file_keys(name, reports)
        if key in table.of:
            (twice if key in seen else seen).add(key)
    if twice:
        raise ConfigError(
            f"source {source!r}: {len(twice)} names in {reports.path.name} are those of several files below the "
            'source; set key = "file" in reports and give their paths'
        )


def read_reports(reports: Reports) -> ReportTable:
    """The whole table: in memory, each process keeps it. Raises DataError or ConfigError as for other tables."""
    if not reports.path.is_file():
        raise DataError(f"{reports.path}: {irregular(reports.path) or 'no such table'}; correct the path of reports")
    return _read(reports, stamp_of(reports.path))


def stamped(content: str, reports: Reports | None) -> str:
    """A fingerprint of pictures, and where they have reports, of these."""
    return content if reports is None else json_digest([content, stamp_of(reports.path)])


@lru_cache(maxsize=2)
def _read(reports: Reports, stamp: str) -> ReportTable:
    found: dict[str, Report] = {}
    unusable = list[tuple[int, BadRecordError]]()
    for number, row in _rows(reports):
        try:
            if isinstance(row, BadRecordError):
                raise row
            key = _key(row, reports)
        except BadRecordError as bad:
            unusable.append((number, bad))
            continue
        report = found.setdefault(key, Report(number))
        try:
            _add(report, row, reports)
        except BadRecordError as bad:
            report.refused = number, bad
    unusable += [report.refused for report in found.values() if report.refused and report.texts]
    return ReportTable(reports, found, unusable)


def _add(report: Report, row: Mapping[str, Any], reports: Reports) -> None:
    value = row.get(reports.column)
    if value is None and reports.sections:
        value = {name: row[name] for name in reports.sections if name in row}
    chosen, whole = chosen_sections(value, reports)
    texts = captions_in(chosen, reports.captions)
    if not all(text.strip() for text in texts):
        raise BadRecordError(Reason.MISSING_FIELD, "its report is empty")
    report.texts += [text for text in dict.fromkeys(texts) if text not in report.texts]
    report.labels = (WHOLE_REPORT,) if whole or report.labels else ()


def _key(row: Mapping[str, Any], reports: Reports) -> str:
    key = as_name(row.get(reports.key_column or reports.key))
    if reports.key in ("file", "name"):
        key = str(PurePosixPath(key.replace("\\", "/"))) if key else ""
    if not key:
        raise BadRecordError(Reason.MISSING_FIELD, f"the report has no {reports.key_column or reports.key}")
    return key


def _rows(reports: Reports) -> Iterator[tuple[int, Row]]:
    path = reports.path
    table = format_of(path, dialect_of(path, reports.declared))
    if table is None:
        raise ConfigError(unknown_table(path))
    found = list(table.columns(path))
    key, named = reports.key_column or reports.key, {reports.column, *reports.sections}
    if key not in found or (reports.column not in found and not set(reports.sections or named) <= set(found)):
        raise ConfigError(
            f"{path}: reports need the columns {key!r} and {reports.column!r} (or columns of all sections) among "
            f"{', '.join(found)}; name the right ones: reports = {{ key_column = ..., column = ... }}"
        )
    for span in table.spans(path):
        yield from table.rows(path, span, {key, *named})
