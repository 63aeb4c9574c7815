"""Examples on the pages of keys: a card for each task, which reads data made for it, and a source for each kind."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import miniature_plans
import miniature_sets
import pytest
from miniature_plans import Planned
from settings_pages import EXAMPLES

from mmkd.cards.card import Card
from mmkd.cards.catalogue import read_card
from mmkd.cards.readers.read import read_samples
from mmkd.curation.sources.kinds import READERS
from mmkd.evaluation.data_sets.checks import problems
from mmkd.evaluation.tasks.table import TASKS

ASKED = [name for name, task in TASKS.items() if not task.derived_from]  # a card names no other


@pytest.mark.parametrize(("folder", "kinds"), [("cards", ASKED), ("sources", READERS)])
def test_there_is_one_for_each(folder: str, kinds: Iterable[str]) -> None:
    assert {path.stem for path in (EXAMPLES / folder).iterdir()} == set(kinds)


def each_of_its_own_patient(card: Card) -> Iterator[Planned]:
    return (replace(one, group=one.number + 1) for one in miniature_plans.planned(card))


@pytest.mark.parametrize("task", ASKED)
def test_a_card_is_complete(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miniature_plans, "PER_CLASS", 10)
    monkeypatch.setattr(miniature_sets, "planned", each_of_its_own_patient)
    monkeypatch.setitem(miniature_sets.FILE_NAMES, "chest_findings", ("p{n}_{k}", "p{n}"))
    made = miniature_sets.write_miniature(read_card(Path(shutil.copy(EXAMPLES / "cards" / f"{task}.toml", tmp_path))))
    samples = read_samples(made.card)
    assert made.card.tasks == [task]
    assert Counter((sample.split, sample.labels, sample.group) for sample in samples) == made.expected
    assert problems(made.card) == []
