"""Which model an evaluation is about."""

from collections.abc import Iterable, Sequence

from mmkd.evaluation.format.results import BEST_TEACHER, NULLS, STUDENT, TEACHERS_CONCAT


def focus_model(models: Sequence[str], teachers: Sequence[str] = ()) -> str:
    """The model that comparisons, gallery, heat maps and report are about, and that confirms near copies in the leakage
    audit: the student; without one the first single model that is no teacher; else the first single model.

    models: in the order in which they were asked for. "" where there is no single model.
    """
    single = single_models(models)
    if STUDENT in single:
        return STUDENT
    return next((model for model in single if model not in teachers), single[0] if single else "")


def single_models(models: Iterable[str]) -> list[str]:
    """Without null models and without what is made of several teachers."""
    return [model for model in models if model not in (*NULLS, BEST_TEACHER, TEACHERS_CONCAT)]
