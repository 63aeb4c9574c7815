"""The ledger of a corpus as one page: what was read, where records left, and what is in the corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.curation.ledger.examples import Example, kept_examples, thumbnail
from mmkd.curation.ledger.funnel import Funnel, funnel_of
from mmkd.curation.ledger.rows import first_rejected, write_curation
from mmkd.curation.ledger.statistics import UNSAID, CorpusStatistics, agreements, corpus_statistics
from mmkd.curation.ledger.tally import most_common, summary
from mmkd.curation.panels.split import WHOLE
from mmkd.curation.records.notes import fewer_names
from mmkd.curation.rejected_examples import rejected_examples
from mmkd.evaluation.format.numbers import MISSING
from mmkd.modalities.taxonomy import UNKNOWN
from mmkd.report.curves import funnel_plot, spread_plot
from mmkd.report.plot import Figure
from mmkd.report.render import count, count_or_dash, counted, cut, plain, render, sectioned, share, write_page
from mmkd.report.view import Row, Section, Table, Tile, text_table

PAGE = "curation.html"
EACH_REJECT = 20  # of each reason are listed one by one; all are in curation.parquet
MOST_SOURCES = 12  # columns of a table
MOST_NAMES = 5  # of a source: modality names that are not known
MOST_ROWS = 40  # of a table of names
EXCLUDED = "excluded by include or part"
ORIGIN = ("source", "licence", "modality_evidence", "labels", "language")


@dataclass(frozen=True)
class Ledger:
    """Everything the page shows. rejects: rows of `rejected.parquet`, the first of each reason."""

    name: str
    facts: CorpusStatistics
    funnel: Funnel
    kept: Sequence[Example]
    dropped: Sequence[Example]
    rejects: Sequence[Mapping[str, str]]


def write_ledger(folder: Path, name: str) -> None:
    """Write `curation.html` and `curation.parquet` into a corpus folder, finished or not; equal corpora, equal pages.

    name: the corpus's own, for the title. Raises DataError when the folder is no corpus.
    """
    write_curation(folder)
    write_page(folder / PAGE, ledger_page(read_ledger(folder, name)))


def read_ledger(folder: Path, name: str) -> Ledger:
    """From the corpus and `rejected.parquet`, batch by batch."""
    facts = corpus_statistics(folder, "ledger: counts")
    funnel = funnel_of(folder, facts.by["source"])
    rejects = first_rejected(folder, EACH_REJECT)
    return Ledger(name, facts, funnel, kept_examples(folder), rejected_examples(folder), rejects)


def ledger_page(ledger: Ledger) -> str:
    facts = ledger.facts
    sections = [
        Section("funnel", "Records after each step", _funnel(ledger), "funnel"),
        Section("kept", "Kept pairs", {"examples": ledger.kept, "kind": ""}, "examples"),
        Section("dropped", "Rejected records", _rejected(ledger), "rejected"),
        Section("modalities", "Modalities", _modalities(facts), "table"),
        Section("evidence", "Modality evidence", _evidence(facts), "evidence"),
        Section("captions", "Captions", _spreads(facts, ("characters", "words"), "language"), "spreads"),
        Section("images", "Images", _spreads(facts, ("width", "height"), "panel"), "spreads"),
        Section("repeats", "Duplicates", _repeats(facts), "repeats"),
        Section("licences", "Licences", named_counts("licence", facts), "table"),
    ]
    shown = [section for section in sections if section.anchor != "kept" or ledger.kept]
    return sectioned("curation.html", f"Curation: {ledger.name}", _about(ledger), _tiles(ledger), shown)


def _about(ledger: Ledger) -> str:
    read, kept, excluded = ledger.funnel.read, ledger.facts.pairs, ledger.funnel.excluded.total()
    more = f" {excluded:,} more in the sources were excluded by include or part and are not listed." if excluded else ""
    return (
        f"{read:,} records were read and {kept:,} kept ({share(kept, read)}). curation.parquet beside this page lists "
        f"the outcome of every record.{more}"
    )


def _tiles(ledger: Ledger) -> list[Tile]:
    facts, groups = ledger.facts, ledger.facts.repeats["groups"]
    splits = ", ".join(f"{number:,} {name}" for name, number in most_common(facts.by["split"]).items())
    named = set(facts.by["modality"]) - {UNKNOWN}
    said = [f"from {counted(len(ledger.funnel.by_source()), 'source')}"]
    if unknown := facts.by["modality"][UNKNOWN]:
        said.append(f"and {counted(unknown, 'picture' if facts.captionless else 'pair')} of unknown modality")
    more = [f"and {facts.captionless:,} pictures without a caption", f"of all pictures {splits}"]
    return [
        Tile("pairs", f"{facts.captioned:,}", more if facts.captionless else [splits], ours=True),
        Tile("groups", f"{groups.distinct:,}", [f"the largest has {groups.largest:,} pairs"]),
        Tile("modalities", f"{len(named):,}", said),
    ]


def _funnel(ledger: Ledger) -> dict[str, Any]:
    read, steps, excluded = ledger.funnel.read, ledger.funnel.steps(), ledger.funnel.excluded
    left = {**({"found": ledger.funnel.found} if excluded else {}), "read": read}
    left |= {step: after for step, _, after in steps}
    lines = [["include", f"{excluded.total():,}", f"{read:,}", share(read, read), EXCLUDED]] if excluded else []
    for step, gone, after in steps:
        lines.append(
            [
                step,
                f"{gone.total():,}",
                f"{after:,}",
                share(after, read),
                ", ".join(f"{plain(why)} {n:,}" for why, n in most_common(gone).items()) or MISSING,
            ]
        )
    by_source = ledger.funnel.by_source()
    rows = [
        Row(name, [*map(count, (excluded[name], kept + gone, kept, gone)), share(kept, kept + gone)])
        for name, (kept, gone) in list(by_source.items())[:MOST_ROWS]
    ]
    heads = ["source", EXCLUDED, "read", "kept", "rejected", "kept of all read"]
    noted = [
        [name, what, f"{n:,}"]
        for name, found in ledger.funnel.noted.items()
        for what, n in fewer_names(found, MOST_NAMES).items()
    ]
    says = "Number of records left after each step, in the order of the steps."
    return {
        "figure": Figure("left-after-steps", funnel_plot(left), says),
        "has_panels": bool(set(ledger.facts.by["panel"]) - {UNSAID["panel"], WHOLE}),
        "steps": text_table(["step", "rejected here", "remain", "of all read", "reasons"], lines),
        "sources": Table(heads, rows, shown_of(len(rows), len(by_source))),
        "noted": text_table(["source", "noted", "files or records"], noted) if noted else None,
    }


def _rejected(ledger: Ledger) -> dict[str, Any] | None:
    if not ledger.rejects:
        return None
    ordered = sorted(ledger.rejects, key=lambda row: row["reason"])
    rows = [[plain(row["reason"]), row["id"] or row["where"], row["source"], row["detail"]] for row in ordered]
    total = ledger.funnel.rejected.total()
    return {
        "examples": ledger.dropped,
        "listed": text_table(["reason", "record", "source", "detail"], rows),
        "which": "all" if total == len(rows) else f"of each reason the first {EACH_REJECT}, {len(rows):,} of {total:,}",
    }


def _modalities(facts: CorpusStatistics) -> Table:
    sources = list(most_common(facts.by["source"]))[:MOST_SOURCES]
    rows = [
        Row(name, [f"{number:,}", *(count_or_dash(facts.modality_source[name, source]) for source in sources)])
        for name, number in most_common(facts.by["modality"]).items()
    ]
    return Table(["modality", "all", *sources], rows, shown_of(len(sources), len(facts.by["source"]), "sources"))


def _evidence(facts: CorpusStatistics) -> dict[str, Any] | None:
    if not (found := agreements(facts.evidence)):
        return None
    rows = [
        Row(name, [f"{one.spoke:,}", f"{one.agreed:,}", share(one.agreed, one.spoke)]) for name, one in found.items()
    ]
    conflicts = [[one.id, one.modality, one.evidence, one.labels, cut(one.caption, 200)] for one in facts.conflicts]
    return {
        "conflicting": facts.conflicting,
        "table": Table(["evidence", "records", "agree with the modality", "share"], rows),
        "conflicts": text_table(["record", "modality", "evidence", "labels", "caption"], conflicts),
        "which": shown_of(len(facts.conflicts), facts.conflicting),
    }


def _spreads(facts: CorpusStatistics, columns: Sequence[str], named: str) -> dict[str, Any]:
    """Histograms and quantiles of numbers, and the values of one more column."""
    spread = {name: facts.numbers[name] for name in columns if facts.numbers[name]}
    unit = "pixels" if "width" in columns else ""
    what = "caption" if named == "language" else "image"
    says = {"characters": "Caption length in characters.", "words": "Caption length in words."}
    figures = [
        Figure(f"{what}-{name}", spread_plot(counts, unit or name), says.get(name, f"Image {name} as stored."))
        for name, counts in spread.items()
    ]
    quantiles = {f"{name}, {unit}" if unit else name: summary(counts) for name, counts in spread.items()}
    heads = list(next(iter(quantiles.values()), {}))
    rows = [Row(name, [f"{value:,g}" for value in values.values()]) for name, values in quantiles.items()]
    return {
        "figures": figures,
        "quantiles": Table(["", *heads], rows),
        "named": named_counts(named, facts),
        "mentions": facts.mentions if what == "caption" else 0,
    }


def _repeats(facts: CorpusStatistics) -> dict[str, Any]:
    rows = [
        Row(name, [*map(count, (one.distinct, one.repeated, one.rows, one.largest))])
        for name, one in facts.repeats.items()
    ]
    heads = ["", "distinct", "occurring more than once", "pairs with one of these", "most frequent"]
    return {"table": Table(heads, rows), "both": facts.in_both_splits}


def named_counts(name: str, facts: CorpusStatistics) -> Table:
    """The values of a column of the corpus, the frequent first. name: of the column."""
    counts = most_common(facts.by[name])
    rows = [[value, f"{number:,}", share(number, facts.pairs)] for value, number in list(counts.items())[:MOST_ROWS]]
    counted_as = "pictures" if facts.captionless else "pairs"
    return text_table([name, counted_as, "of all"], rows, shown_of(len(rows), len(counts)))


def shown_of(shown: int, total: int, what: str = "rows") -> str:
    """The caption of a table that does not show all; nothing for one that does."""
    return "" if shown >= total else f"the first {shown:,} of {total:,} {what}"


def sample_page(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """rows: of a corpus, with all its columns and `image` as encoded bytes."""
    pairs = [{**row, "image": thumbnail(row["image"])} for row in rows]
    return render("sample.html", title=title, pairs=pairs, origin=ORIGIN)
