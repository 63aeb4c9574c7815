"""From TOML files to checked data-set cards."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmkd.errors import ConfigError
from mmkd.evaluation.card import Card
from mmkd.evaluation.settings import EvaluateSettings
from mmkd.evaluation.tasks.table import TASKS
from mmkd.interpolate import expand
from mmkd.validation import nearest, parse, read_toml

CATALOG = Path(__file__).parent / "catalog"


def catalogue() -> dict[str, Path]:
    """The cards that ship with mmkd: id -> TOML file."""
    return {path.stem: path for path in sorted(CATALOG.glob("*.toml"))}


def chosen_cards(settings: EvaluateSettings) -> list[Card]:
    """The recipe's own cards, and those of the catalogue that it names by id, modality or task."""
    own = load_cards(settings.cards, settings.variables)
    if not settings.datasets:
        return own
    raise ConfigError("the catalogue is not there yet")


def load_card(path: Path, variables: Mapping[str, str] | None = None, base: Path | None = None) -> Card:
    """One card; its `${NAME}`s are filled in from the variables and the environment.

    base: the folder that its paths are relative to, where it is not the card's own.

    Raises ConfigError that names the file for wrong keys, values, variables, or tasks it cannot serve.
    """
    data = read_toml(path)
    try:
        data = expand(data, {**os.environ, **(variables or {})})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    card = parse(Card, data, str(path), {"base": base or path.parent})
    for name in card.tasks:
        if name not in TASKS:
            raise ConfigError(f"{path}: unknown task {name!r}; {nearest(name, list(TASKS))}")
        if complaint := TASKS[name].complaint(card):
            raise ConfigError(f"{path}: task {name!r} {complaint}")
    return card


def load_cards(paths: Sequence[Path], variables: Mapping[str, str] | None = None) -> list[Card]:
    """The cards in the given order. Raises ConfigError as `load_card`, and when two cards share an id."""
    cards: dict[str, tuple[Path, Card]] = {}
    for path in paths:
        card = load_card(path, variables)
        if card.id in cards:
            raise ConfigError(f"{path}: id {card.id!r} is taken by {cards[card.id][0]}; every card needs its own")
        cards[card.id] = (path, card)
    return [card for _, card in cards.values()]
