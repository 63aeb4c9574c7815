"""The classes that pictures are labelled with, and their prompts: from a list, a TOML file, or a card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.cards.card import Card
from mmkd.cards.catalogue import catalogue_cards, read_card
from mmkd.errors import ConfigError, DataError
from mmkd.validation import nearest, parse, read_toml

PLACE = "{}"  # in a prompt: where the name of the class stands


@dataclass(frozen=True)
class Classes:
    """names and the prompts of each, of which the mean is taken. card: id of the card that they are from, or ""."""

    names: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    card: str = ""

    def __post_init__(self) -> None:
        """Raises ConfigError for classes that cannot be told apart."""
        if len(self.names) < 2:
            raise ConfigError(f"{len(self.names)} class found, expected two or more: probabilities are shares of all")
        if repeated := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise ConfigError(f"the class {repeated[0]!r} stands twice; give each class once")
        if silent := [name for name, own in zip(self.names, self.prompts, strict=True) if not all(own) or not own]:
            raise ConfigError(f"the class {silent[0]!r} has no prompt, or an empty one")


def classes_of(text: str, card: str = "", run: Path | None = None) -> Classes:
    """`a,b,c`, or the path of a TOML file with a line `name = ["prompt", "a photo of {}"]` a class; or of a card.

    card: an id of the catalogue, of the run's evaluation, or the path of a card. Raises ConfigError.
    """
    if bool(text) == bool(card):
        raise ConfigError('give either --classes classes.toml (or "a,b,c") or --card ID')
    if card:
        return of_card(_card(card, run))
    if text.lower().endswith(".toml"):
        return of_table(read_toml(Path(text)), text)
    return of_names([name.strip() for name in text.split(",")])


def of_names(names: Sequence[str]) -> Classes:
    """The name of a class is its prompt."""
    return Classes(tuple(names), tuple((name,) for name in names))


def of_table(table: Mapping[str, Any], where: str = "classes") -> Classes:
    """Name -> prompt or prompts; `{}` in a prompt is the name. Raises ConfigError."""
    prompts = []
    for name, own in table.items():
        listed = [own] if isinstance(own, str) else own
        if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
            kind = "a section" if isinstance(own, Mapping) else f"a value of type {type(own).__name__}"
            raise ConfigError(f'{where}: class {name!r} is {kind}, expected prompts: "{name}" = ["...", "..."]')
        prompts.append(tuple(prompt.replace(PLACE, name) for prompt in listed or [PLACE]))
    return Classes(tuple(table), tuple(prompts))


def of_card(card: Card) -> Classes:
    """The prompt ensembles of a card. Raises ConfigError where its classes do not exclude each other."""
    if card.multi_label:
        raise ConfigError(
            f"card {card.id!r}: a picture may have several of its classes, so shares of all of them say nothing; "
            'ask for one finding at a time: --classes "pleural effusion,no pleural effusion"'
        )
    return Classes(
        tuple(entry.name for entry in card.classes), tuple(tuple(entry.prompts) for entry in card.classes), card.id
    )


def _card(name: str, run: Path | None) -> Card:
    if name.lower().endswith(".toml"):
        return read_card(Path(name))
    known = {**catalogue_cards(), **(_evaluated(run) if run else {})}
    if name not in known:
        raise ConfigError(f"--card {name!r}: no such card; {nearest(name, list(known))}; see `mmkd datasets list`")
    return known[name]


def _evaluated(run: Path) -> dict[str, Card]:
    """The cards that a run was evaluated on."""
    path = run / "evaluate" / "cards.jsonl"
    try:
        found = [json.loads(line) for line in path.read_text().splitlines()]
        return {one["id"]: parse(Card, one, str(path), {"base": run}) for one in found if "id" in one}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not readable ({error}); run `mmkd evaluate` again") from error
