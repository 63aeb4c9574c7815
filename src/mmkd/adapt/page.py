"""`adapt.html`: what the labels were worth, on one page without script."""

from pathlib import Path
from typing import TYPE_CHECKING

from mmkd.adapt.measure import METRICS
from mmkd.adapt.words import chosen, heads_and_lines, methods_in, percent, verdict
from mmkd.report.render import render, write_page
from mmkd.report.view import Cell, Row, Table, Tile, text_table

if TYPE_CHECKING:
    from mmkd.adapt.adapt import Adapted


def write_adapt_page(path: Path, found: "Adapted") -> None:
    """Write it."""
    facts, last = found.classifier.facts, found.row
    metric = METRICS[0]
    tiles = [
        Tile("zero-shot", f"{100 * last.zero_shot[metric].value:.1f} %", [percent(last.zero_shot[metric])]),
        Tile(
            "published classifier's method, all labels",
            f"{100 * last.adapted[metric].value:.1f} %",
            [percent(last.adapted[metric])],
            ours=True,
        ),
        Tile("gain", f"{100 * last.gain[metric].value:+.1f}", [percent(last.gain[metric], "+")]),
    ]
    heads, lines = heads_and_lines(found.rows)
    table = Table(
        heads,
        [Row(line[0], [_cell(text) for text in line[1:]], "ours" if line[0] == last.name else "") for line in lines],
        f"balanced accuracy in percent on {last.tested:,} pictures, {found.folds}; intervals by groups",
    )
    counts = Table(
        ("class", "labelled pictures", "prompts"),
        [
            Row(name, (f"{count:,}", "; ".join(prompts)))
            for (name, count), prompts in zip(facts.data["labels"].items(), facts.prompts, strict=True)
        ],
    )
    told = [[str(number), note] for number, note in enumerate(found.notes, 1)]
    reasons = [[reason.replace("_", " "), f"{count:,}"] for reason, count in found.rejected.most_common()]
    page = render(
        "adapt.html",
        title=f"{facts.model}: adapted to {len(facts.classes)} classes",
        verdict=verdict(last),
        is_warning=last.verdict != "better",
        chosen=chosen(facts, found.choice.why),
        temperature=facts.temperature,
        temperature_note=facts.temperature_note,
        tiles=tiles,
        table=table,
        methods=methods_in(found.rows),
        counts=counts,
        notes=text_table(["", "note"], told) if told else None,
        rejected=text_table(["reason", "pictures"], reasons) if reasons else None,
    )
    write_page(path, page)


def _cell(text: str) -> Cell:
    """An interval stands below its value, so that the table is not wider than the page."""
    value, bracket, bounds = text.partition(" [")
    return Cell(value, small=f"[{bounds}" if bracket else "")
