"""What is wrong with a card and its data before a model is loaded; and with the catalogue's cards, without data."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmkd.cards.card import Card
from mmkd.cards.catalogue import read_card
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import Sample
from mmkd.errors import ConfigError, DataError
from mmkd.evaluation.data_sets.choose import check_tasks
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.tasks.table import TASKS
from mmkd.modalities.taxonomy import MODALITIES
from mmkd.validation import nearest

EXTERNAL = "external:"
DECODED = 2_000  # pictures that a check decodes, evenly spaced
SHOWN = 3  # pictures of one data set that a check names


def problems(card: Card, settings: EvaluateSettings | None = None, seed: int = 0) -> list[str]:
    """All that would end an evaluation on this card and that no model has a part in; empty where nothing would."""
    return examined(card, settings, seed)[1]


def examined(
    card: Card, settings: EvaluateSettings | None = None, seed: int = 0, decoded: int = DECODED
) -> tuple[list[Sample], list[str]]:
    """The samples, and the `problems` of the card.

    Its tasks, its tables and folders, the splits, classes, captions, questions and events that each task needs, and
    whether its pictures can be decoded (so many of them where there are more).
    """
    try:
        samples = read_samples(check_tasks(card, Path(card.id)))
    except (ConfigError, DataError) as error:
        return [], [str(error)]
    found = [problem for name in card.tasks if (problem := _task_problem(name, card, samples, settings, seed))]
    return samples, [*found, *_unreadable(card, samples, decoded)]


def _task_problem(
    name: str, card: Card, samples: Sequence[Sample], settings: EvaluateSettings | None, seed: int
) -> str:
    task = TASKS[name]
    try:
        task.check(card, samples, settings.of_task(task) if settings else task.settings(), seed)
    except DataError as error:
        return f"{card.id}, {name}: {str(error).removeprefix(f'{card.id}: ').removeprefix(f'{card.id}, {name}: ')}"
    return ""


def _unreadable(card: Card, samples: Sequence[Sample], decoded: int) -> list[str]:
    images = list(dict.fromkeys(image for sample in samples for image in sample.images))
    tried = images if len(images) <= decoded else [images[n * len(images) // decoded] for n in range(decoded)]
    found = []
    for image in tried:
        try:
            image.read()
        except DataError as error:
            found.append(str(error))
    more = f"{card.id}: {len(found) - SHOWN} of {len(tried)} tried pictures besides are not readable"
    return found[:SHOWN] + ([more] if len(found) > SHOWN else [])


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
    for task, facts in TASKS.items():
        if task in card.tasks:
            yield from facts.catalogue_complaints(card)


def _neighbours(card: Card, cards: Mapping[str, Card]) -> Iterator[str]:
    for other in card.overlaps:
        if other.startswith(EXTERNAL):
            continue
        if other not in cards:
            yield f"overlaps names {other!r}, no card of the catalogue; write '{EXTERNAL}{other}', or the nearest id"
        elif other == card.id or card.id not in cards[other].overlaps:
            yield f"overlaps names {other!r}, which does not name {card.id!r}"


def _gaps(cards: Mapping[str, Card]) -> Iterator[str]:
    lost = [name for name in MODALITIES if all(card.modality != name for card in cards.values())]
    asked = [name for name, task in TASKS.items() if not task.derived_from]
    lost += [name for name in asked if all(name not in card.tasks for card in cards.values())]
    yield from (f"no card of {name}" for name in lost)
