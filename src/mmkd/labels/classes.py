"""The classes that pictures are labelled with, and their prompts: from a list, a TOML file, or a card."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmkd.cards.card import Card
from mmkd.cards.catalogue import catalogue_cards, read_card
from mmkd.errors import ConfigError, DataError
from mmkd.validation import nearest, read_toml

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
        count = Counter(map(key_of, self.names))
        if repeated := [name for name in self.names if count[key_of(name)] > 1]:
            how = "" if self.names.count(repeated[0]) > 1 else f", once as {repeated[1]!r}"
            raise ConfigError(f"the class {repeated[0]!r} stands twice{how}; give each class once")
        pairs = list(zip(self.names, self.prompts, strict=True))
        if silent := [name for name, own in pairs if not own or not all(prompt.strip() for prompt in own)]:
            raise ConfigError(f"the class {silent[0]!r} has no prompt, or an empty one")
        if not all(name.strip() for name in self.names):
            raise ConfigError("a class has an empty name, which stands for pictures without a label; name it")


def key_of(name: str) -> str:
    """What tells classes and labels apart: not upper and lower case, nor spaces around them."""
    return name.strip().casefold()


def classes_of(text: str, card: str = "", run: Path | None = None) -> Classes:
    """`a,b,c`, or the path of a TOML file with a line `name = ["prompt", "a photo of {}"]` a class; or of a card.

    card: an id of the catalogue, of the run's evaluation, or the path of a card. Raises ConfigError.
    """
    if bool(text) == bool(card):
        raise ConfigError('give either --classes classes.toml (or "a,b,c") or --card ID')
    if card:
        return _of_card(card, run)
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
    return _exclusive(card.id, card.multi_label, [(entry.name, entry.prompts) for entry in card.classes])


def _exclusive(card: str, multi_label: bool, entries: Sequence[tuple[str, Sequence[str]]]) -> Classes:
    if multi_label:
        raise ConfigError(
            f"card {card!r}: a picture may have several of its classes, so shares of all of them say nothing; "
            'ask for one finding at a time: --classes "pleural effusion,no pleural effusion"'
        )
    return Classes(tuple(name for name, _ in entries), tuple(tuple(prompts) for _, prompts in entries), card)


def _of_card(name: str, run: Path | None) -> Classes:
    if name.lower().endswith(".toml"):
        own = of_card(read_card(Path(name)))
        same = run is not None and _evaluated(run, own.card) == own
        return own if same else replace(own, card="")  # a run's calibration is of the run's own prompts
    if run is not None and (found := _evaluated(run, name)) is not None:
        return found
    known = catalogue_cards()
    if name not in known:
        raise ConfigError(f"--card {name!r}: no such card; {nearest(name, list(known))}; see `mmkd datasets list`")
    return of_card(known[name])


def _evaluated(run: Path, name: str) -> Classes | None:
    """Of a card that a run was evaluated on."""
    path = run / "evaluate" / "cards.jsonl"
    try:
        cards = [json.loads(line) for line in path.read_text().splitlines()]
        card = next((one for one in cards if one["id"] == name and one.get("classes")), None)
        if card is None:
            return None
        entries = [(one["name"], one.get("prompts", [])) for one in card["classes"]]
        return _exclusive(name, bool(card.get("multi_label")), entries)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not readable ({error}); run `mmkd evaluate` again") from error
