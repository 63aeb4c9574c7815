"""What the licence of a teacher's weights allows, and which teachers a run may not use."""

from collections.abc import Sequence
from typing import Literal

from mmkd.errors import ConfigError
from mmkd.licences import licence_class
from mmkd.teachers.zoo.entry import zoo
from mmkd.teachers.zoo.settings import ZOO, TeacherSpec

Use = Literal["commercial", "noncommercial", "unclear"]


def use_of(spec: TeacherSpec) -> Use:
    """What the weights may be used for: as the zoo says, or, of other teachers, as far as their licence is a known one.

    A licence that the recipe states by itself goes before the zoo's: the user may have another grant.
    """
    if spec.library == ZOO and spec.licence == zoo()[spec.model].variant(spec.variant).licence:
        return zoo()[spec.model].variant(spec.variant).use
    by_class: dict[str, Use] = {
        "permissive": "commercial",
        "share-alike": "commercial",
        "non-commercial": "noncommercial",
    }
    return by_class.get(licence_class(spec.licence), "unclear")


def refuse_licences(specs: Sequence[TeacherSpec], allowed: Literal["any", "commercial"]) -> None:
    """Raise ConfigError that names every teacher whose weights may not be used, or may not be known to be."""
    if allowed == "any":
        return
    refused = [f"{spec.name} ({use_of(spec)}: {spec.licence})" for spec in specs if use_of(spec) != "commercial"]
    if refused:
        raise ConfigError(
            f'licence = "commercial" refuses {", ".join(refused)}; leave them out (--teachers), '
            "state the licence you have been granted in the recipe, or allow any"
        )
