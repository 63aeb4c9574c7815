"""The cards of an evaluation, a recipe's own and those of the catalogue, with their tasks checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmkd.cards.card import Card
from mmkd.cards.catalogue import catalogue, catalogue_cards, named, read_card
from mmkd.errors import ConfigError
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.validation import nearest


def chosen_cards(settings: EvaluateSettings, check: bool = True) -> list[Card]:
    """The recipe's own cards, and those of the catalogue that it names by id, modality or task.

    Sets of a modality or task that have no folder below `data_root` are left out, with a line that says so; a set that
    is named by its id has to be there. check: the cards' tasks, which loads torch. Raises ConfigError when something is
    missing or wrong, or when two cards share an id.
    """
    own = load_cards(settings.cards, settings.variables, check)
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
        print(f"not below {settings.data_root}, left out: {', '.join(missing)}")
    found = [id_ for id_ in wanted if id_ not in missing]
    return _distinct([*own, *(check_tasks(cards[id_], catalogue()[id_]) if check else cards[id_] for id_ in found)])


def _distinct(cards: list[Card]) -> list[Card]:
    ids = [card.id for card in cards]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ConfigError(f"{', '.join(twice)}: on a card of one's own and in the catalogue; give one's own another id")
    return cards


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


def load_cards(paths: Sequence[Path], variables: Mapping[str, str] | None = None, check: bool = True) -> list[Card]:
    """The cards in the given order. Raises ConfigError as `load_card`, and when two cards share an id."""
    cards: dict[str, tuple[Path, Card]] = {}
    for path in paths:
        card = load_card(path, variables) if check else read_card(path, variables)
        if card.id in cards:
            raise ConfigError(f"{path}: id {card.id!r} is taken by {cards[card.id][0]}; every card needs its own")
        cards[card.id] = (path, card)
    return [card for _, card in cards.values()]
