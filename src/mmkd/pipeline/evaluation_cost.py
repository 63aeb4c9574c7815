"""What the evaluation of a recipe costs: pictures that each model embeds, clean and corrupted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from mmkd.cards.card import Card
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import Sample
from mmkd.errors import MmkdError
from mmkd.evaluation.corruptions.families import SEVERITIES, Family, families_of
from mmkd.evaluation.data_sets.choose import chosen_cards, load_card
from mmkd.evaluation.tasks.robustness import OF
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.training.plan import Hardware


@dataclass(frozen=True)
class EvaluationPlan:
    """pictures: of the data sets that can be counted; corrupted: what `[evaluate] corruptions` adds to them.

    gflop: of all models on all of these pictures, corrupted_gflop: of it on the corrupted ones.
    """

    data_sets: int
    pictures: int
    corrupted: int
    gflop: float
    corrupted_gflop: float
    hours: float
    corrupted_hours: float


def plan_evaluation(
    settings: EvaluateSettings,
    teacher_gflops: Sequence[float],
    student_gflop: float,
    students: int,
    hardware: Hardware,
    assumptions: list[str],
) -> EvaluationPlan:
    """Arithmetic on the data sets that are there; what is not counted is among the assumptions.

    teacher_gflops: of each teacher on a pair. student_gflop: of a student on a picture.
    """
    counted = [count for card in _cards(settings, assumptions) if (count := _pictures(card, settings, assumptions))]
    pictures, corrupted = (sum(count[place] for count in counted) for place in range(2))
    one = sum(teacher_gflops) + students * student_gflop
    null = student_gflop if "random_weights" in settings.nulls else 0.0  # which sees the clean ones only
    if counted:
        assumptions.append("evaluation: a picture costs a teacher as much as a pair, and captions cost nothing")
    of_corrupted = corrupted * one
    of_all = pictures * (one + null) + of_corrupted
    hours = hardware.hours(of_all), hardware.hours(of_corrupted)
    return EvaluationPlan(len(counted), pictures, corrupted, of_all, of_corrupted, *hours)


def _cards(settings: EvaluateSettings, assumptions: list[str]) -> Iterator[Card]:
    for path in settings.cards:
        yield from _tried(lambda path=path: [load_card(path, settings.variables)], path.name, assumptions)  # type: ignore[misc]
    if settings.datasets:
        catalogue = settings.model_copy(update={"cards": []})
        yield from _tried(partial(chosen_cards, catalogue), "the catalogue's data sets", assumptions)


def _tried(read: Callable[[], list[Card]], what: str, assumptions: list[str]) -> list[Card]:
    try:
        return read()
    except MmkdError as error:
        assumptions.append(f"evaluation: {what} is not counted: {error}")
        return []


def _pictures(card: Card, settings: EvaluateSettings, assumptions: list[str]) -> tuple[int, int] | None:
    """As `pictures_of`; by the card where the data are not there, None where it does not say."""
    try:
        samples = read_samples(card)
    except MmkdError as error:
        if not card.counts:
            assumptions.append(f"evaluation: {card.id} is not counted: {error}")
            return None
        assumptions.append(f"evaluation: {card.id} is not there, and counted as its card says")
        return sum(card.counts.values()), _versions(card, settings.corruptions) * card.counts.get("test", 0)
    return pictures_of(card, samples, settings.corruptions)


def pictures_of(card: Card, samples: Sequence[Sample], corruptions: bool | list[Family]) -> tuple[int, int]:
    """Distinct pictures of a data set, and how many corrupted ones of it are embedded besides."""
    pictures = {image for sample in samples for image in sample.images}
    test = {image for sample in samples if sample.split == "test" for image in sample.images}
    return len(pictures), _versions(card, corruptions) * len(test)


def _versions(card: Card, corruptions: bool | list[Family]) -> int:
    """Of each test picture."""
    return len(families_of(card.modality, corruptions)) * len(SEVERITIES) if OF in card.tasks else 0
