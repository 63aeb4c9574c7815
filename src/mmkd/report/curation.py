"""The ledger of a corpus as one page: what was read, where records left, and what is in the corpus."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkd.curation.ledger.examples import Example, kept_examples
from mmkd.curation.ledger.funnel import Funnel, funnel_of
from mmkd.curation.ledger.modality_evidence import agreements
from mmkd.curation.ledger.rows import first_rejected, write_curation
from mmkd.curation.ledger.statistics import UNSAID, CorpusStatistics, corpus_statistics
from mmkd.curation.ledger.tally import most_common
from mmkd.curation.panels.split import WHOLE
from mmkd.curation.rejected_examples import rejected_examples
from mmkd.folders.atomic import atomic_file
from mmkd.report import markup
from mmkd.report.curation_figures import funnel_figure, spread_figure
from mmkd.report.curation_tables import (
    CAPTION,
    MOST_ROWS,
    counted,
    cut,
    named_counts,
    plain,
    share,
    shown_of,
    summaries,
)
from mmkd.report.markup import Cell, Line
from mmkd.report.numbers import MISSING

PAGE = "curation.html"
EACH_REJECT = 20  # of each reason are told one by one; all are in curation.parquet
MOST_SOURCES = 12  # columns of a table
EXCLUDED = "excluded by include"


@dataclass(frozen=True)
class Ledger:
    """Everything the page tells. rejects: rows of `rejected.parquet`, the first of each reason."""

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
    with atomic_file(folder / PAGE) as stream:
        stream.write(ledger_page(read_ledger(folder, name)).encode())


def read_ledger(folder: Path, name: str) -> Ledger:
    """From the corpus and `rejected.parquet`, batch by batch."""
    facts = corpus_statistics(folder, "ledger: counts")
    funnel = funnel_of(folder, facts.by["source"])
    rejects = first_rejected(folder, EACH_REJECT)
    return Ledger(name, facts, funnel, kept_examples(folder), rejected_examples(folder), rejects)


def ledger_page(ledger: Ledger) -> str:
    sections = {
        "funnel": ("Funnel", _funnel(ledger)),
        "kept": ("Kept", _kept(ledger)),
        "dropped": ("Dropped", _dropped(ledger)),
        "modalities": ("Modalities", _modalities(ledger)),
        "evidence": ("Evidence", _evidence(ledger)),
        "captions": ("Captions", _captions(ledger)),
        "images": ("Images", _images(ledger)),
        "repeats": ("Repeats", _repeats(ledger)),
        "licences": ("Licences", _licences(ledger)),
    }
    return markup.sectioned_page(f"Curation: {ledger.name}", _told(ledger), [_tiles(ledger)], sections)


def _told(ledger: Ledger) -> str:
    read, kept, excluded = ledger.funnel.read, ledger.facts.pairs, ledger.funnel.excluded.total()
    told = f" {excluded:,} more in the sources were excluded by include and are listed nowhere." if excluded else ""
    return (
        f"{read:,} records were read and {kept:,} kept ({share(kept, read)}). What became of every single one stands "
        f"in curation.parquet beside this page.{told}"
    )


def _tiles(ledger: Ledger) -> str:
    facts = ledger.facts
    splits = [f"{count:,} {name}" for name, count in most_common(facts.by["split"]).items()]
    groups = facts.repeats["groups"]
    many = len(ledger.funnel.by_source())
    return markup.tiles(
        [
            markup.tile("pairs", f"{facts.pairs:,}", [", ".join(splits)], ours=True),
            markup.tile("groups", f"{groups.distinct:,}", [f"the largest has {groups.largest:,} pairs"]),
            markup.tile("modalities", f"{len(facts.by['modality']):,}", [f"from {many} source{'s' * (many != 1)}"]),
        ]
    )


def _funnel(ledger: Ledger) -> Iterator[str]:
    read, steps = ledger.funnel.read, ledger.funnel.steps()
    found, excluded = ledger.funnel.found, ledger.funnel.excluded
    left = {**({"found": found} if excluded else {}), "read": read, **{step: after for step, _, after in steps}}
    yield markup.figure(
        "left-after-steps", funnel_figure(left), "How many records were left after each step, in their order."
    )
    if set(ledger.facts.by["panel"]) - {UNSAID["panel"], WHOLE}:
        yield markup.paragraph("A figure that was cut into panels counts once a panel.")
    lines = [["include", f"{excluded.total():,}", f"{read:,}", share(read, read), EXCLUDED]] if excluded else []
    for step, gone, after in steps:
        told = ", ".join(f"{plain(reason)} {count:,}" for reason, count in most_common(gone).items())
        lines.append([step, f"{gone.total():,}", f"{after:,}", share(after, read), told or MISSING])
    yield markup.text_table(["step", "left here", "remain", "of all read", "why"], lines)
    yield markup.heading(3, "Source by source")
    by_source = ledger.funnel.by_source()
    rows = [
        Line(
            name,
            [Cell(f"{n:,}") for n in (excluded[name], kept + gone, kept, gone)] + [Cell(share(kept, kept + gone))],
        )
        for name, (kept, gone) in list(by_source.items())[:MOST_ROWS]
    ]
    yield markup.table(
        ["source", EXCLUDED, "read", "kept", "rejected", "kept of all read"], rows, shown_of(len(rows), len(by_source))
    )


def _kept(ledger: Ledger) -> Iterator[str]:
    yield from _examples(ledger.kept, "")


def _dropped(ledger: Ledger) -> Iterator[str]:
    if not ledger.rejects:
        return
    yield from _examples(ledger.dropped, "wrong")
    ordered = sorted(ledger.rejects, key=lambda row: row["reason"])
    rows = [[plain(row["reason"]), row["id"] or row["where"], row["source"], row["detail"]] for row in ordered]
    total = ledger.funnel.rejected.total()
    told = "all" if total == len(rows) else f"of each reason the first {EACH_REJECT}, {len(rows):,} of {total:,}"
    listed = markup.text_table(["reason", "record", "source", "detail"], rows)
    yield markup.folded(f"One by one: {told}", [listed])


def _examples(examples: Sequence[Example], kind: str) -> Iterator[str]:
    if examples:
        shown = [
            markup.captioned(one.jpeg, one.id, [(plain(one.group), kind), (cut(one.caption, CAPTION), "")])
            for one in examples
        ]
        yield markup.pictures(shown)


def _modalities(ledger: Ledger) -> Iterator[str]:
    counts, pairs = ledger.facts.by["modality"], ledger.facts.modality_source
    sources = list(most_common(ledger.facts.by["source"]))[:MOST_SOURCES]
    lines = [
        Line(name, [Cell(f"{count:,}"), *(Cell(counted(pairs[name, source])) for source in sources)])
        for name, count in most_common(counts).items()
    ]
    told = shown_of(len(sources), len(ledger.facts.by["source"]), "sources")
    yield markup.table(["modality", "all", *sources], lines, told)


def _evidence(ledger: Ledger) -> Iterator[str]:
    facts = ledger.facts
    if not (found := agreements(facts.evidence)):
        return
    yield markup.paragraph(
        "How many records a kind of evidence has a vote on, and how often it is for the modality in the corpus. Of two "
        f"that both vote: how often both are. {facts.conflicting:,} records have evidence against their modality."
    )
    lines = [
        Line(name, [Cell(f"{one.spoke:,}"), Cell(f"{one.agreed:,}"), Cell(share(one.agreed, one.spoke))])
        for name, one in found.items()
    ]
    yield markup.table(["evidence", "spoke", "for the modality", "share"], lines)
    if facts.conflicts:
        told = shown_of(len(facts.conflicts), facts.conflicting)
        rows = [[one.id, one.modality, one.evidence, one.labels, cut(one.caption, 200)] for one in facts.conflicts]
        listed = markup.text_table(["record", "modality", "evidence", "labels", "caption"], rows)
        yield markup.folded(f"Conflicts, one by one{f': {told}' if told else ''}", [listed])


def _captions(ledger: Ledger) -> Iterator[str]:
    numbers = ledger.facts.numbers
    spread = {name: numbers[name] for name in ("characters", "words") if numbers[name]}
    figures = [
        markup.figure(f"caption-{name}", spread_figure(counts, name), f"Length of captions in {name}.")
        for name, counts in spread.items()
    ]
    yield markup.grid(figures)
    yield summaries(spread)
    yield named_counts("language", ledger.facts)
    if ledger.facts.mentions:
        yield markup.paragraph(f"{ledger.facts.mentions:,} pairs also have what the article's text says of the figure.")


def _images(ledger: Ledger) -> Iterator[str]:
    numbers = ledger.facts.numbers
    spread = {name: numbers[name] for name in ("width", "height") if numbers[name]}
    figures = [
        markup.figure(f"image-{name}", spread_figure(counts, "pixels"), f"{name} of the images as stored.")
        for name, counts in spread.items()
    ]
    yield markup.grid(figures)
    yield summaries({f"{name}, pixels": counts for name, counts in spread.items()})
    yield named_counts("panel", ledger.facts)


def _repeats(ledger: Ledger) -> Iterator[str]:
    yield markup.paragraph("What still occurs more than once in the corpus; what was dropped stands in the funnel.")
    lines = [
        Line(name, [Cell(f"{n:,}") for n in (one.distinct, one.repeated, one.rows, one.largest)])
        for name, one in ledger.facts.repeats.items()
    ]
    yield markup.table(["", "different", "of these more than once", "pairs with such a one", "most of one"], lines)


def _licences(ledger: Ledger) -> Iterator[str]:
    yield named_counts("licence", ledger.facts)
