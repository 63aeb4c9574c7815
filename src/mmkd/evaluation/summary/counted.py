"""Which data sets count in means, rankings and ranks: those with groups (or samples) enough for an interval."""

from collections.abc import Iterator, Mapping, Sequence

from mmkd.evaluation.format.results import ALL, CLEAN, NOT_COUNTED
from mmkd.evaluation.summary.scores import Scores

FEW = 20  # groups; below this a notice warns of intervals


def counted(by_data_set: Sequence[Scores]) -> list[Scores]:
    return [scores for scores in by_data_set if scores.is_counted]


def left_out_note(scores: Scores, least: int) -> str:
    """What the rows of a data set say that no mean counts, and those of its clean subset; else ""."""
    if scores.is_counted or scores.subset not in (ALL, CLEAN):  # no mean is made of subgroups
        return ""
    return f"{NOT_COUNTED}: {_size(scores)}, least_groups asks for {least:,}"


def notices(by_task: Mapping[str, Sequence[Scores]], least: int) -> list[str]:
    """A line for each data set with few groups, with the tasks that this holds for, and for each task without a mean.

    by_task: title -> the scores of its data sets.
    """
    tasks: dict[str, list[str]] = {}
    for title, by_data_set in by_task.items():
        for line in _of_task(by_data_set, least):
            tasks.setdefault(line, []).append(title)
    return [f"{', '.join(titles)}: {line}" for line, titles in tasks.items()]


def _of_task(by_data_set: Sequence[Scores], least: int) -> Iterator[str]:
    for scores in by_data_set:
        has = f"{scores.facts.dataset} has {_size(scores)}"
        if not scores.is_counted:
            yield f"{has}, evaluate.least_groups asks for {least:,}: it has its own rows and is left out of all means"
        elif scores.units < FEW:
            yield f"{has}: intervals from so few are too narrow (see evaluate.least_groups)"
    if not counted(by_data_set):
        yield f"there is no mean, as no data set has the {least:,} groups that evaluate.least_groups asks for"


def _size(scores: Scores) -> str:
    """Such as "7 groups", and where no groups are known "40 samples"."""
    word = scores.draws.split()[0]
    return f"{scores.units:,} {word if scores.units != 1 else word.removesuffix('s')}"
