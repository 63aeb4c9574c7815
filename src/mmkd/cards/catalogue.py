"""From TOML files to checked data-set cards: one's own, and those of the catalogue that ships with mmkd."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from mmkd.cards.card import MIXED, Card
from mmkd.errors import ConfigError
from mmkd.interpolate import expand
from mmkd.modalities.taxonomy import MODALITIES, canonical_modality
from mmkd.renamed import warn, with_new_names
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
    tasks = sorted({name for card in cards.values() for name in card.tasks})
    if plain != ALL and task not in tasks and modality not in known:
        raise ConfigError(f"no data set, modality or task {name!r}; {nearest(name, [*cards, *known, *tasks, ALL])}")
    modality = modality if modality in known else ""
    return [id_ for id_, card in cards.items() if plain == ALL or task in card.tasks or modality == card.modality]


def named(names: Sequence[str], cards: Mapping[str, Card]) -> list[str]:
    """The ids that several names stand for, each once, in the order of the names."""
    return list(dict.fromkeys(id_ for name in names for id_ in matching(name, cards)))


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
    data = with_new_names(data, say=lambda line: warn(f"{path}: {line}"))
    return parse(Card, data, str(path), {"base": base or path.parent})
