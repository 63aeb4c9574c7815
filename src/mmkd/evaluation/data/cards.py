"""From TOML files to checked data-set cards: one's own, and those of the catalogue that ships with mmkd."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from mmkd.corpus.taxonomy import MODALITIES, canonical_modality
from mmkd.errors import ConfigError
from mmkd.evaluation.data.card import MIXED, Card
from mmkd.evaluation.settings import EvaluateSettings
from mmkd.interpolate import expand
from mmkd.progress import say
from mmkd.validation import nearest, parse, read_toml

CATALOG = Path(__file__).parent / "catalog"
ALL = "all"


def catalogue() -> dict[str, Path]:
    """The cards that ship with mmkd: id -> TOML file."""
    return {path.stem: path for path in sorted(CATALOG.glob("*.toml"))}


@lru_cache(maxsize=4)
def catalogue_cards(data_root: Path | None = None) -> Mapping[str, Card]:
    """The cards by id, their paths below `data_root/<id>`. Tasks are not checked here, see `check_tasks`."""
    root = data_root or Path()
    return {name: read_card(path, {}, base=root / name) for name, path in catalogue().items()}


def matching(name: str, cards: Mapping[str, Card]) -> list[str]:
    """The ids that a name stands for: an id, a modality by any of its names, a task, or `all`.

    Raises ConfigError that suggests the nearest name.
    """
    if name in cards:
        return [name]
    plain = name.strip().lower()
    task, modality = plain.replace("-", "_"), MIXED if plain == MIXED else canonical_modality(plain)
    known = (*MODALITIES, MIXED)
    tasks = sorted({asked for card in cards.values() for asked in card.tasks})
    if plain != ALL and task not in tasks and modality not in known:
        raise ConfigError(f"no data set, modality or task {name!r}; {nearest(name, [*cards, *known, *tasks, ALL])}")
    modality = modality if modality in known else ""
    return [id_ for id_, card in cards.items() if plain == ALL or task in card.tasks or modality == card.modality]


def named(names: Sequence[str], cards: Mapping[str, Card]) -> list[str]:
    """The ids that several names stand for, each once, in the order of the names."""
    return list(dict.fromkeys(id_ for name in names for id_ in matching(name, cards)))


def chosen_cards(settings: EvaluateSettings) -> list[Card]:
    """The recipe's own cards, and those of the catalogue that it names by id, modality or task.

    Sets of a modality or task that have no folder below `data_root` are left out, with a line that says so; a set that
    is named by its id has to be there. Raises ConfigError otherwise, or when two cards share an id.
    """
    own = load_cards(settings.cards, settings.variables)
    if not settings.datasets or settings.data_root is None:
        return own
    cards = catalogue_cards(settings.data_root)
    wanted = named(settings.datasets, cards)
    missing = [id_ for id_ in wanted if not (settings.data_root / id_).is_dir()]
    required = [id_ for id_ in missing if id_ in settings.datasets]
    if required or missing == wanted:
        raise ConfigError(
            f"no folder below {settings.data_root} for {', '.join(required or missing)}; "
            "'mmkd datasets check' says where the data are to be had"
        )
    if missing:
        say(f"not below {settings.data_root}, left out: {', '.join(missing)}")
    return _distinct([*own, *(check_tasks(cards[id_], catalogue()[id_]) for id_ in wanted if id_ not in missing)])


def _distinct(cards: list[Card]) -> list[Card]:
    ids = [card.id for card in cards]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ConfigError(f"{', '.join(twice)}: on a card of one's own and in the catalogue; give one's own another id")
    return cards


def read_card(path: Path, variables: Mapping[str, str] | None = None, base: Path | None = None) -> Card:
    """One card; its `${NAME}`s are filled in from the variables and the environment.

    base: the folder that its paths are relative to, where it is not the card's own.

    Raises ConfigError that names the file for wrong keys, values or variables.
    """
    data = read_toml(path)
    try:
        data = expand(data, {**os.environ, **(variables or {})})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse(Card, data, str(path), {"base": base or path.parent})


def check_tasks(card: Card, path: Path) -> Card:
    """The card. Raises ConfigError that names its file when there is no such task, or when it cannot be served."""
    from mmkd.evaluation.tasks.table import TASKS  # loads torch, which a list of cards does without

    for name in card.tasks:
        if name not in TASKS:
            raise ConfigError(f"{path}: unknown task {name!r}; {nearest(name, list(TASKS))}")
        if complaint := TASKS[name].complaint(card):
            raise ConfigError(f"{path}: task {name!r} {complaint}")
    return card


def load_card(path: Path, variables: Mapping[str, str] | None = None, base: Path | None = None) -> Card:
    """As `read_card`, with its tasks checked."""
    return check_tasks(read_card(path, variables, base), path)


def load_cards(paths: Sequence[Path], variables: Mapping[str, str] | None = None) -> list[Card]:
    """The cards in the given order. Raises ConfigError as `load_card`, and when two cards share an id."""
    cards: dict[str, tuple[Path, Card]] = {}
    for path in paths:
        card = load_card(path, variables)
        if card.id in cards:
            raise ConfigError(f"{path}: id {card.id!r} is taken by {cards[card.id][0]}; every card needs its own")
        cards[card.id] = (path, card)
    return [card for _, card in cards.values()]
