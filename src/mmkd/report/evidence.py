"""What speaks for the modalities of a corpus as one page: who says what, how far it is trusted, who contradicts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.curation.ledger.examples import rows_of, thumbnail
from mmkd.curation.modality.votes import agree
from mmkd.features.evidence.pooling import BINS
from mmkd.features.evidence.stored import ESTIMATE, FACTS_FILE, IMAGE
from mmkd.folders.atomic import atomic_file
from mmkd.report import markup
from mmkd.report.curation_tables import CAPTION, counted, cut, share, shown_of
from mmkd.report.markup import Cell, Line
from mmkd.report.numbers import MISSING

PAGE = "evidence.html"
PICTURES = 40  # of conflicts, at most
TITLE = "Evidence for modalities"


@dataclass(frozen=True)
class Exhibit:
    """The pair of a conflict. jpeg: empty where its picture cannot be read."""

    caption: str
    jpeg: bytes


@dataclass(frozen=True)
class Shown:
    """facts: what `evidence.json` holds. exhibits: of the first of its conflicts, in their order."""

    facts: Mapping[str, Any]
    exhibits: Sequence[Exhibit]

    @property
    def pairs(self) -> int:
        return sum(self.facts["votes"][ESTIMATE].values())


def write_evidence_page(folder: Path, corpus: Path) -> None:
    """Write `evidence.html` into a folder of evidence, finished or not; equal evidence makes equal pages."""
    facts = json.loads((folder / FACTS_FILE).read_text())
    rows = rows_of(corpus, [one["row"] for one in facts["conflicts"][:PICTURES]], ("caption", "image")).to_pylist()
    exhibits = [Exhibit(row["caption"], thumbnail(row["image"]["bytes"])) for row in rows]
    with atomic_file(folder / PAGE) as stream:
        stream.write(evidence_page(Shown(facts, exhibits)).encode())


def evidence_page(shown: Shown) -> str:
    sections = {
        "votes": ("Who says what", _votes(shown)),
        "agreement": ("Agreement, two by two", _agreement(shown)),
        "teachers": ("What each teacher sees", _teachers(shown)),
        "trust": ("How far votes are trusted", _trust(shown)),
        "conflicts": ("Conflicts", _conflicts(shown)),
    }
    told = (
        "What source, labels, caption and teachers say of the modality of each pair, and their verdict together. The "
        "corpus is as it was: all rows stand in evidence.parquet beside this page."
    )
    return markup.sectioned_page(TITLE, told, [_tiles(shown)], sections)


def _tiles(shown: Shown) -> str:
    facts, pairs = shown.facts, shown.pairs
    seen, disputed = facts["spoken"].get(IMAGE, 0), facts["disputed"]
    teachers = len(facts["teachers"])
    looked_for = f"{len(facts['modalities'])} modalities are looked for"
    return markup.tiles(
        [
            markup.tile("pairs", f"{pairs:,}", [looked_for], ours=True),
            markup.tile(
                "seen by teachers", share(seen, pairs), [f"{seen:,} pairs, {teachers} teacher{'s' * (teachers != 1)}"]
            ),
            markup.tile("with contradicting evidence", share(disputed, pairs), [f"{disputed:,} pairs"]),
        ]
    )


def _votes(shown: Shown) -> Iterator[str]:
    votes = shown.facts["votes"]
    yield markup.paragraph("How many pairs each kind of evidence calls so, and how many have that verdict.")
    names = dict.fromkeys([*votes[ESTIMATE], *(name for kind in votes.values() for name in kind)])
    lines = [Line(name, [Cell(counted(said.get(name, 0))) for said in votes.values()]) for name in names]
    whole = Line("all", [Cell(f"{sum(said.values()):,}") for said in votes.values()], kind="ours")
    yield markup.table(["modality", *votes], [whole, *lines])


def _agreement(shown: Shown) -> Iterator[str]:
    if not (found := shown.facts["agreement"]):
        return
    yield markup.paragraph(
        "On the pairs of which both say something; kappa is the agreement beyond that of chance (Cohen's), 1 is always."
    )
    lines = [
        Line(
            f"{one['one']} and {one['other']}",
            [Cell(f"{one['records']:,}"), Cell(f"{one['share']:.1%}"), Cell(f"{one['kappa']:.3f}")],
        )
        for one in found
    ]
    yield markup.table(["", "pairs", "agree", "kappa"], lines)


def _teachers(shown: Shown) -> Iterator[str]:
    teachers = shown.facts["teachers"]
    yield markup.paragraph(
        "Of the pairs whose captions name a modality, the share whose pictures a teacher sees so, by prompts of other "
        "captions. The balanced accuracy counts every modality the same; by what it has above chance a teacher's voice "
        "is weighed."
    )
    lines = [
        Line(
            "balanced accuracy",
            [Cell(f"{one['accuracy']:.1%}", small=f"of {one['rows']:,}") for one in teachers],
            "ours",
        )
    ]
    for name in shown.facts["modalities"]:
        seen = [one["modalities"].get(name, {"rows": 0, "right": 0}) for one in teachers]
        best = max(_part(cell) for cell in seen)
        cells = [
            Cell(share(cell["right"], cell["rows"]), "best" if _part(cell) == best > 0 else "", f"of {cell['rows']:,}")
            for cell in seen
        ]
        lines.append(Line(name, cells))
    lines.append(Line("logit scale", [Cell(f"{one['scale']:.1f}") for one in teachers]))
    yield markup.table(["modality", *(one["teacher"] for one in teachers)], lines)


def _part(cell: Mapping[str, int]) -> float:
    return cell["right"] / cell["rows"] if cell["rows"] else 0.0


def _trust(shown: Shown) -> Iterator[str]:
    cells = {(one["modality"], one["support"]): one for one in shown.facts["trust"]}
    bins = sorted({support for _, support in cells})
    if not bins:
        return
    yield markup.paragraph(
        "Votes of all teachers together, by the support that they give (0 to 1): how far such a vote is trusted, and "
        "below it how many captions of those that tell say the same; few are drawn to the share of their modality. "
        "A dash is a vote that does not count."
    )
    lines = []
    for name in shown.facts["modalities"]:
        own = [cells.get((name, support)) for support in bins]
        rows, right = (sum(one[count] for one in own if one) for count in ("rows", "right"))
        all_of_it = Cell(share(right, rows), small=f"{right:,} of {rows:,}")
        lines.append(Line(name, [all_of_it, *map(_trusted, own)]))
    yield markup.table(["modality", "right", *(f"{low:.1f} to {low + 1 / BINS:.1f}" for low in bins)], lines)


def _trusted(one: Mapping[str, Any] | None) -> Cell:
    if one is None:
        return Cell("")
    return Cell(f"{one['trust']:.2f}" if one["speaks"] else MISSING, small=f"{one['right']:,} of {one['rows']:,}")


def _conflicts(shown: Shown) -> Iterator[str]:
    conflicts, disputed = shown.facts["conflicts"], shown.facts["disputed"]
    if not conflicts:
        return
    yield markup.paragraph(
        "Pairs with evidence against their verdict. One of each different conflict comes before the second of any, "
        "those first in which the evidence against it is the surest. In brackets: how far each is trusted."
    )
    told = shown_of(len(shown.exhibits), disputed, "conflicts")
    if told:
        yield markup.paragraph(markup.sentence(told) + ".", kind="muted")
    yield markup.pictures([_pictured(*both) for both in zip(conflicts, shown.exhibits, strict=False)])
    kinds = [kind for kind in shown.facts["votes"] if kind != ESTIMATE]
    rows = [
        [one["id"], _sure(one[ESTIMATE], one["confidence"]), *(one["said"].get(kind, MISSING) for kind in kinds)]
        for one in conflicts
    ]
    title = shown_of(len(conflicts), disputed, "conflicts") or "all conflicts"
    yield markup.folded(f"One by one: {title}", [markup.text_table(["record", ESTIMATE, *kinds], rows)])


def _pictured(one: Mapping[str, Any], exhibit: Exhibit) -> str:
    said = [
        (f"{kind}: {_sure(name, one['trust'][kind])}", "right" if agree(name, one[ESTIMATE]) else "wrong")
        for kind, name in one["said"].items()
    ]
    verdict = f"{ESTIMATE}: {_sure(one[ESTIMATE], one['confidence'])}"
    lines = [(verdict, ""), *said, (one["id"], ""), (cut(exhibit.caption, CAPTION), "")]
    return markup.captioned(exhibit.jpeg, f"the picture of {one['id']}", lines)


def _sure(modality: str, trust: float) -> str:
    return f"{modality} ({trust:.2f})"
