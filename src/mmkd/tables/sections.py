"""Sections of radiology reports, by their headings or by the keys of an object."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from mmkd.reasons import BadRecordError, Reason
from mmkd.settings import Settings
from mmkd.tables.values import as_text, caption_cell

WHOLE_REPORT = "whole report"  # label of pairs whose caption is the whole report, since it lacks the sections
TITLES = (  # a heading that is neither here nor asked for is part of the section it stands in, as LUNGS: of FINDINGS
    *("addendum", "assessment", "clinical data", "clinical details", "clinical history", "clinical indication"),
    *("clinical information", "comparison", "comparison studies", "conclusion", "contrast", "diagnosis"),
    *("dictated by", "electronically signed by", "exam", "exam date", "examination", "family history"),
    *("findings", "history", "impression", "indication", "indication for exam", "interpretation", "limitations"),
    *("medical history", "notification", "opinion", "past medical history", "procedure", "protocol"),
    *("reason for exam", "reason for examination", "reason for study", "recommendation", "report", "signed by"),
    *("social history", "study", "summary", "surgical history", "technique", "views", "wet read"),
)
QUALIFIERS = "additional|brain|chest|ct|final|imaging|incidental|key|mri|other|overall|preliminary|radiologic|relevant"
OPEN = (
    r"(?:[-•>][ \t]{1,9})?(?:\#{1,6}[ \t]{0,9})?[*_]{0,3}(?:\(?(?:[0-9]{1,2}|[ivx]{1,4}|[a-z])[.)][ \t]{0,9})?[*_]{0,3}"
)
END = r"[ \t]{0,9}[*_]{0,3}[ \t]{0,9}(?P<end>[:：][ \t]{0,9}[*_]{0,3}|[-–—]{1,2}(?=\s)|(?=\r?\n|\Z))"
JOINS = r"[ \t]{0,9}(?:[/&,+]|\band\b)[ \t]{0,9}"
SENTENCE_END = ".!?;:)]}\"'*_"
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=80)]


class SectionKeys(Settings):
    """Keys of what holds reports.

    sections: of a report, take these, in this order, found by their headings (`FINDINGS:`, `## Impression`, `Findings
    and impression:`), by the keys of an object, or by columns of these names where the table has no caption column.
    otherwise: a report with none of the sections is left out and listed ("reject"; in a card it is an error), or its
    "whole" text is taken.
    """

    sections: tuple[Title, ...] = ()
    otherwise: Literal["reject", "whole"] = "reject"


@dataclass(frozen=True)
class Section:
    """heading: as it stands in the report, "" of what stands before the first. titles: in the form of `title_key`."""

    heading: str
    body: str
    titles: tuple[str, ...] = ()


def title_key(title: str) -> str:
    """One form of `FINDINGS`, `Finding` and `Finding(s)`."""
    return " ".join(title.casefold().replace("(s)", "").split()).removesuffix("s")


def sections_in(report: str, asked: Sequence[str] = ()) -> list[Section]:
    """The sections in their order; headings and bodies one behind the other are the report.

    asked: titles beside TITLES.
    """
    found = [match for match in _headings(tuple(asked)).finditer(report) if _is_heading(report, match)]
    ends = [*(match.start() for match in found[1:]), len(report)]
    first = Section("", report[: found[0].start()] if found else report)
    return [first] + [
        Section(match[0], report[match.end() : end], _titles(match["titles"]))
        for match, end in zip(found, ends, strict=False)  # without headings there is an end more
    ]


def chosen_sections(value: Any, keys: SectionKeys) -> tuple[Any, bool]:
    """A report (a list: each of them) with only the sections that are asked for, and whether one of them was taken
    whole instead. What is missing or no report comes as it is.

    Raises BadRecordError for a report with none of the sections, unless it may be taken whole.
    """
    value = caption_cell(value)
    if isinstance(value, list):
        each = [chosen_sections(one, keys) for one in value]
        return [text for text, _ in each], any(whole for _, whole in each)
    if not keys.sections or not isinstance(value, str | bytes | Mapping) or not value:
        return value, False
    asked = [title_key(title) for title in keys.sections]
    sections = _of_object(value, asked) if isinstance(value, Mapping) else sections_in(as_text(value), keys.sections)
    chosen = [section for title in asked for section in sections if title in section.titles and section.body.strip()]
    if chosen:
        return "\n".join(dict.fromkeys(section.body.strip() for section in chosen)), False
    if keys.otherwise == "whole":
        bodies = (section.body for section in sections if section.body.strip())
        return "\n".join(bodies) if isinstance(value, Mapping) else as_text(value), True
    raise BadRecordError(Reason.MISSING_SECTION, _lacking(keys, sections))


def _of_object(value: Mapping[str, Any], asked: Sequence[str]) -> list[Section]:
    """Its texts; other values only where they are asked for, which as_text refuses."""
    items = ((title_key(title), text) for title, text in value.items())
    return [Section("", as_text(text), (title,)) for title, text in items if title in asked or isinstance(text, str)]


def _lacking(keys: SectionKeys, sections: Sequence[Section]) -> str:
    found = dict.fromkeys(title for section in sections for title in section.titles)
    return (
        f"the report has no text in {', '.join(keys.sections)}; sections found: {', '.join(found) or 'none'}; "
        'name others, or take such reports as they are with otherwise = "whole"'
    )


@lru_cache(maxsize=16)
def _headings(asked: tuple[str, ...]) -> re.Pattern[str]:
    known = {title_key(title) for title in (*TITLES, *asked)}
    longest_first = sorted(known, key=lambda title: (-len(title), title))
    one = "|".join(re.escape(title).replace(r"\ ", r"[ \t]{1,9}") for title in longest_first)
    title = rf"(?:(?:{QUALIFIERS})[ \t]{{1,9}})?(?:{one})(?:\(s\)|s)?"
    titles = rf"(?P<titles>{title}(?:{JOINS}{title}){{0,3}})"
    begin = rf"(?:(?P<line>^[ \t]*{OPEN})|(?<!\S)[*_]{{0,3}})"
    return re.compile(rf"{begin}{titles}{END}", re.IGNORECASE | re.MULTILINE)


def _is_heading(report: str, match: re.Match[str]) -> bool:
    """With a colon: capitals, a capital letter, or any letter behind the end of a sentence or paragraph. Without one it
    stands alone in its line, in the same letters; a dash follows capitals only."""
    titles, line, end = match["titles"], match["line"], match["end"]
    if end and end[0] in "-–—":
        return line is not None and titles.isupper()
    before = report[: match.start()].rstrip(" \t")
    follows_end = not before.strip() or before.rstrip()[-1] in SENTENCE_END or before.endswith(("\n\n", "\n\r\n"))
    if not end:
        marked = line is not None and any(mark in line for mark in "#*_")
        return line is not None and (marked or titles.isupper() or (titles[0].isupper() and follows_end))
    return titles[0].isupper() or follows_end


def _titles(joined: str) -> tuple[str, ...]:
    """All of `Findings and impression`; `Additional findings` are findings as well."""
    titles = [title_key(part) for part in re.split(JOINS, joined, flags=re.IGNORECASE)]
    return tuple(dict.fromkeys(one for title in titles for one in (title, re.sub(rf"^(?:{QUALIFIERS}) ", "", title))))
