"""The rows of a miniature's tables, and the pictures and slides that they name."""

from pathlib import Path
from typing import Any

from miniature_plans import Hashing, Planned, picture_of, save_picture
from slide_world import stained, write_tiled_tiff

from mmkd.cards.card import Card
from mmkd.cards.layouts import SlidesLayout, TableLayout
from mmkd.cards.readers.cells import BRACES
from mmkd.images.encode import png


class Rows:
    """Makes the rows of a card's tables, and the pictures and slides that they name."""

    def __init__(self, card: Card, layout: TableLayout | SlidesLayout) -> None:
        self._card, self._layout, self._hashing = card, layout, Hashing(layout.hashed)
        self._group_numbers: dict[int, int] = {}
        self._has_group = "group" in layout.columns or "group (" in card.preparation
        self._has_split = not layout.hashed and not getattr(layout, "splits", {})
        self._has_split &= "split" in layout.columns or "split" in card.preparation

    def row(self, one: Planned, table: Path) -> tuple[dict[str, Any], str]:
        """The row, and the group that it must be read with."""
        columns = self._layout.columns
        row: dict[str, Any] = {column: values[0] for column, values in self._layout.include.items()}
        for name, value in self._fields(one).items():
            column = columns.get(name, name)
            if not BRACES.search(column):
                row.setdefault(column, value)
        row |= self._labels(one)
        row |= {column: f"{column.lower()} {one.number % 2}" for column in self._card.subgroups if column not in row}
        row |= {column: one.number + 1 for names in self._card.covariates.values() for column in names}
        self._pictures(row, one, table)
        group = row.get(columns.get("group", "group"), "")
        return row, str(group)

    def _fields(self, one: Planned) -> dict[Any, Any]:
        card, layout = self._card, self._layout
        named = {"id", "image"} & set(layout.columns)
        group = self._group(one) if self._has_group else ""
        number = one.number if group else self._hashing.number(one.split, "{0}.png")
        found: dict[Any, Any] = dict.fromkeys(sorted(named, reverse=True), f"{number}.png")
        found |= {"group": group} if group else {}
        found |= {"split": (layout.split_values or {one.split: [one.split]})[one.split][0]} if self._has_split else {}
        if isinstance(layout, TableLayout) and not card.covariates:
            found.setdefault("image", f"{number}.png")
        if "retrieval" in card.tasks:
            found["caption"] = f"caption {one.number}"
        if "vqa" in card.tasks:
            closed = one.number % 2 == 0
            found |= {"question": f"question {one.number}?", "answer": "yes" if closed else "left lung"}
            if "answer_type" in card.preparation or table_suffix(layout) == ".json":
                found["answer_type"] = layout.closed[0] if closed else "OPEN"
        if "survival" in card.tasks:
            alive = layout.censored[0]
            dead = layout.event[0] if layout.event else str(1 - int(alive))
            found |= {"time": one.number + 0.5, "event": alive if one.number % 2 else dead}
        return found

    def _group(self, one: Planned) -> str:
        if one.group not in self._group_numbers:
            self._group_numbers[one.group] = self._hashing.number(one.split, "patient {0}")
        return f"patient {self._group_numbers[one.group]}"

    def _labels(self, one: Planned) -> dict[str, Any]:
        card, layout = self._card, self._layout
        markers = [entry.marker for entry in card.classes]
        if layout.one_hot:
            return {marker: int(label in one.labels) for label, marker in enumerate(markers)}
        if not markers:
            return {}
        column = layout.columns.get("label", "label")
        nothing = layout.unlabelled[0] if layout.unlabelled else ""
        return {column: layout.separator.join(markers[label] for label in one.labels) or nothing}

    def _pictures(self, row: dict[str, Any], one: Planned, table: Path) -> None:
        """Fill the columns of templates, write what they name; pictures go into Parquet tables themselves."""
        layout = self._layout
        folder = layout.images or table.parent
        templates = [template for template in layout.columns.values() if BRACES.search(template)]
        templates += [layout.slide] if isinstance(layout, SlidesLayout) else []
        for template in templates:
            for column, _ in BRACES.findall(template):
                row.setdefault(column, str(one.number))
        filled = {template: BRACES.sub(lambda found: str(row[found[1]]), template) for template in templates}
        if isinstance(layout, SlidesLayout):
            path = folder / filled[layout.slide]
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tiled_tiff(path, stained(512, 512, [(0, 0, 448, 448)]))
        elif table.suffix == ".parquet":
            row["image"] = {"bytes": png(picture_of(one.number))}
        elif not self._card.covariates:
            column = layout.columns.get("image", "image")
            save_picture(folder / str(filled.get(column) or row[column]), one.number)


def table_suffix(layout: TableLayout | SlidesLayout) -> str:
    path = layout.path or next(iter(getattr(layout, "splits", {}).values()))
    return str(path.suffix)
