"""Small tables and words of the ledger's page."""

from collections.abc import Mapping

from mmkd.curation.ledger.statistics import CorpusStatistics
from mmkd.curation.ledger.tally import most_common, summary
from mmkd.report import markup
from mmkd.report.markup import Cell, Line
from mmkd.report.numbers import MISSING

MOST_ROWS = 40  # of a table of names
CAPTION = 90  # characters of a caption below a picture


def named_counts(name: str, facts: CorpusStatistics) -> str:
    """The values of a column of the corpus, the frequent first. name: of the column."""
    counts = most_common(facts.by[name])
    rows = [[value, f"{count:,}", share(count, facts.pairs)] for value, count in list(counts.items())[:MOST_ROWS]]
    return markup.text_table([name, "pairs", "of all"], rows, shown_of(len(rows), len(counts)))


def summaries(spread: Mapping[str, Mapping[int, int]]) -> str:
    """Quantiles and means. spread: what was counted -> value -> records."""
    told = {name: summary(counts) for name, counts in spread.items()}
    heads = list(next(iter(told.values()), {}))
    lines = [Line(name, [Cell(f"{value:,g}") for value in values.values()]) for name, values in told.items()]
    return markup.table(["", *heads], lines)


def plain(name: str) -> str:
    """A reason in words."""
    return name.replace("_", " ")


def share(part: int, whole: int) -> str:
    """In percent; nothing of nothing is a dash."""
    return f"{part / whole:.1%}" if whole else MISSING


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def shown_of(shown: int, total: int, what: str = "rows") -> str:
    """What to say below a table that does not show all; nothing for one that does."""
    return "" if shown >= total else f"the first {shown:,} of {total:,} {what}"


def counted(number: int) -> str:
    return f"{number:,}" if number else MISSING
