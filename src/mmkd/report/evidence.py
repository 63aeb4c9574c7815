"""The evidence for the modalities of a corpus as one page: votes, agreement, calibration, conflicts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmkd.curation.ledger.examples import rows_of, thumbnail
from mmkd.curation.modality.votes import agree
from mmkd.evaluation.format.numbers import MISSING
from mmkd.features.evidence.stored import ESTIMATE, FACTS_FILE, IMAGE
from mmkd.features.evidence.teacher_votes import BINS
from mmkd.report.curation import shown_of
from mmkd.report.render import count_or_dash, sectioned, share, write_page
from mmkd.report.view import Cell, Row, Section, Table, Tile, text_table

PAGE = "evidence.html"
PICTURES = 40  # of conflicts, at most
TITLE = "Evidence for modalities"


class ConflictPair(NamedTuple):
    """jpeg: empty where the image cannot be read."""

    caption: str
    jpeg: bytes


def write_evidence_page(folder: Path, corpus: Path) -> None:
    """Write `evidence.html` into a folder of evidence, finished or not; equal evidence makes equal pages."""
    facts = json.loads((folder / FACTS_FILE).read_text())
    rows = rows_of(corpus, [one["row"] for one in facts["conflicts"][:PICTURES]], ("caption", "image")).to_pylist()
    pairs = [ConflictPair(row["caption"], thumbnail(row["image"]["bytes"])) for row in rows]
    write_page(folder / PAGE, evidence_page(facts, pairs))


def evidence_page(facts: Mapping[str, Any], pairs: Sequence[ConflictPair]) -> str:
    """facts: what `evidence.json` holds. pairs: of the first of its conflicts, in their order."""
    sections = [
        Section("votes", "Votes by kind of evidence", _votes(facts["votes"]), "votes"),
        Section("agreement", "Pairwise agreement", _agreement(facts["agreement"]), "agreement"),
        Section("teachers", "Teacher accuracy by modality", _teachers(facts), "teachers"),
        Section("trust", "Calibration of the teachers' votes", _trust(facts), "trust"),
        Section("conflicts", "Conflicts", _conflicts(facts, pairs), "conflicts"),
    ]
    about = (
        "What source, labels, caption and teachers say about the modality of each pair, and the verdict of all "
        "together. The corpus is unchanged; evidence.parquet beside this page holds every row."
    )
    return sectioned("evidence.html", TITLE, about, _tiles(facts), sections)


def _tiles(facts: Mapping[str, Any]) -> list[Tile]:
    pairs = sum(facts["votes"][ESTIMATE].values())
    classified, disputed, teachers = facts["spoken"].get(IMAGE, 0), facts["disputed"], len(facts["teachers"])
    by = f"{classified:,} pairs, {teachers} teacher{'s' * (teachers != 1)}"
    return [
        Tile("pairs", f"{pairs:,}", [f"{len(facts['modalities'])} modalities"], ours=True),
        Tile("classified by teachers", share(classified, pairs), [by]),
        Tile("with conflicting evidence", share(disputed, pairs), [f"{disputed:,} pairs"]),
    ]


def _votes(votes: Mapping[str, Mapping[str, int]]) -> Table:
    names = dict.fromkeys([*votes[ESTIMATE], *(name for kind in votes.values() for name in kind)])
    rows = [Row(name, [count_or_dash(named.get(name, 0)) for named in votes.values()]) for name in names]
    whole = Row("all", [f"{sum(named.values()):,}" for named in votes.values()], kind="ours")
    return Table(["modality", *votes], [whole, *rows])


def _agreement(found: Sequence[Mapping[str, Any]]) -> Table | None:
    rows = [
        Row(f"{one['one']} and {one['other']}", [f"{one['records']:,}", f"{one['share']:.1%}", f"{one['kappa']:.3f}"])
        for one in found
    ]
    return Table(["", "pairs", "agree", "kappa"], rows) if rows else None


def _teachers(facts: Mapping[str, Any]) -> Table:
    teachers = facts["teachers"]
    balanced = [Cell(f"{one['accuracy']:.1%}", small=f"of {one['rows']:,}") for one in teachers]
    rows = [Row("balanced accuracy", balanced, "ours")]
    for name in facts["modalities"]:
        counted = [one["modalities"].get(name, {"rows": 0, "right": 0}) for one in teachers]
        best = max(_part(cell) for cell in counted)
        cells = [
            Cell(share(cell["right"], cell["rows"]), "best" if _part(cell) == best > 0 else "", f"of {cell['rows']:,}")
            for cell in counted
        ]
        rows.append(Row(name, cells))
    rows.append(Row("logit scale", [f"{one['scale']:.1f}" for one in teachers]))
    return Table(["modality", *(one["teacher"] for one in teachers)], rows)


def _part(cell: Mapping[str, int]) -> float:
    return cell["right"] / cell["rows"] if cell["rows"] else 0.0


def _trust(facts: Mapping[str, Any]) -> Table | None:
    cells = {(one["modality"], one["support"]): one for one in facts["trust"]}
    bins = sorted({support for _, support in cells})
    if not bins:
        return None
    lines = []
    for name in facts["modalities"]:
        own = [cells.get((name, support)) for support in bins]
        rows, right = (sum(one[number] for one in own if one) for number in ("rows", "right"))
        line = [Cell(share(right, rows), small=f"{right:,} of {rows:,}")]
        for one in own:
            trust = f"{one['trust']:.2f}" if one and one["speaks"] else MISSING
            line.append(Cell(trust, small=f"{one['right']:,} of {one['rows']:,}") if one else Cell(""))
        lines.append(Row(name, line))
    return Table(["modality", "right", *(f"{low:.1f} to {low + 1 / BINS:.1f}" for low in bins)], lines)


def _conflicts(facts: Mapping[str, Any], pairs: Sequence[ConflictPair]) -> dict[str, Any] | None:
    conflicts, disputed = facts["conflicts"], facts["disputed"]
    if not conflicts:
        return None
    kinds = [kind for kind in facts["votes"] if kind != ESTIMATE]
    rows = [
        [one["id"], _sure(one[ESTIMATE], one["confidence"]), *(one["said"].get(kind, MISSING) for kind in kinds)]
        for one in conflicts
    ]
    return {
        "which": shown_of(len(pairs), disputed, "conflicts"),
        "pictures": [
            {"jpeg": pair.jpeg, "id": one["id"], "votes": _votes_on(one), "caption": pair.caption}
            for one, pair in zip(conflicts, pairs, strict=False)
        ],
        "listed_which": shown_of(len(conflicts), disputed, "conflicts") or "all conflicts",
        "listed": text_table(["record", ESTIMATE, *kinds], rows),
    }


def _votes_on(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Verdict and votes, with what `marked` makes of them."""
    votes = [
        (f"{kind}: {_sure(name, one['trust'][kind])}", "right" if agree(name, one[ESTIMATE]) else "wrong")
        for kind, name in one["said"].items()
    ]
    return [(f"{ESTIMATE}: {_sure(one[ESTIMATE], one['confidence'])}", ""), *votes]


def _sure(modality: str, trust: float) -> str:
    return f"{modality} ({trust:.2f})"
