"""What is wrong with the catalogue's cards themselves; needs no data."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmkd.cards.card import Card
from mmkd.cards.catalogue import read_card
from mmkd.corpus.taxonomy import MODALITIES
from mmkd.errors import ConfigError
from mmkd.evaluation.data_sets.choose import check_tasks
from mmkd.evaluation.tasks.table import TASKS
from mmkd.validation import nearest

EXTERNAL = "external:"
FEWEST_PROMPTS, MOST_PROMPTS = 2, 4


def check_cards(paths: Mapping[str, Path], teachers: Sequence[str]) -> dict[str, list[str]]:
    """id -> complaints, "" -> of the catalogue as a whole; only what is wrong is there. teachers: names of the zoo."""
    cards: dict[str, Card] = {}
    found: dict[str, list[str]] = {}
    for name, path in paths.items():
        try:
            cards[name] = read_card(path, {})
        except ConfigError as error:
            found[name] = [str(error)]
    for name, card in cards.items():
        found[name] = [*_complaints(name, card, paths[name], cards, teachers)]
    found[""] = [*_gaps(cards)]
    return {name: complaints for name, complaints in found.items() if complaints}


def _complaints(name: str, card: Card, path: Path, cards: Mapping[str, Card], teachers: Sequence[str]) -> Iterator[str]:
    if card.id != name:
        yield f"id {card.id!r} differs from the file's name"
    yield from (f"{key} is empty" for key in ("licence", "source") if not getattr(card, key).strip())
    try:
        check_tasks(card, path)
    except ConfigError as error:
        yield str(error).removeprefix(f"{path}: ")
    if not (card.counts or card.samples or {"counts", "samples"} & set(card.unverified)):
        yield "neither counts nor samples; give one, or name it in unverified"
    yield from _neighbours(card, cards)
    for teacher in card.seen_by:
        if teacher not in teachers:
            yield f"seen_by names {teacher!r}, which is not in the zoo; {nearest(teacher, list(teachers))}"
    if "zero_shot" in card.tasks:
        yield from _prompts(card)
    if "linear_probe" in card.tasks and not _has_training(card):
        yield "linear_probe has nothing to learn from: no train split in counts, layout or hashed"


def _neighbours(card: Card, cards: Mapping[str, Card]) -> Iterator[str]:
    for other in card.overlaps:
        if other.startswith(EXTERNAL):
            continue
        if other not in cards:
            yield f"overlaps names {other!r}, no card of the catalogue; write '{EXTERNAL}{other}', or the nearest id"
        elif other == card.id or card.id not in cards[other].overlaps:
            yield f"overlaps names {other!r}, which does not name {card.id!r}"


def _prompts(card: Card) -> Iterator[str]:
    for entry in card.classes:
        if not FEWEST_PROMPTS <= len(entry.prompts) <= MOST_PROMPTS:
            yield f"class {entry.name!r} has {len(entry.prompts)} prompts, expected {FEWEST_PROMPTS} to {MOST_PROMPTS}"
    times = Counter(prompt.casefold() for entry in card.classes for prompt in entry.prompts)
    yield from (f"the prompt {prompt!r} stands twice: it tells nothing apart" for prompt, n in times.items() if n > 1)


def _has_training(card: Card) -> bool:
    layout = card.layout
    splits = {*card.counts, *getattr(layout, "splits", {}), *getattr(layout, "split_values", {})}
    described = "split" in getattr(layout, "columns", {}) or "split" in card.preparation
    return "train" in splits or bool(getattr(layout, "hashed", None)) or described


def _gaps(cards: Mapping[str, Card]) -> Iterator[str]:
    lost = [name for name in MODALITIES if all(card.modality != name for card in cards.values())]
    lost += [name for name in TASKS if all(name not in card.tasks for card in cards.values())]
    yield from (f"no card of {name}" for name in lost)
