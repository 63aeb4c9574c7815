"""A recipe: everything a run is made from, in one TOML file, checked before any work."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, model_validator

from mmkd.curation.settings.curate import CurateSettings
from mmkd.errors import ConfigError
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.executors.local import LocalSettings
from mmkd.executors.table import AnyExecutor
from mmkd.export.settings import ExportSettings
from mmkd.features.evidence.settings import EvidenceSettings
from mmkd.interpolate import expand
from mmkd.phantom.settings import PhantomSettings
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.renamed import key_with_new_names, warn, with_new_names
from mmkd.settings import Machine, Name, Settings, overlaid
from mmkd.student.settings import StudentSettings
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec
from mmkd.training.settings.distill import DistillSettings, whole_vectors
from mmkd.training.settings.train import PretrainSettings, TrainSettings
from mmkd.validation import nearest, parse, parse_toml, read_toml

RESERVED = ("stage1", "student", "teachers_concat", "teachers_stack", "best_teacher")


class SpecialistSettings(Settings):
    """A small teacher of one's own: its pairs are curated and it is trained with stage 1, before everything else.

    name: of the teacher. licence: of its weights.
    """

    name: Name
    licence: str = "unknown"
    curate: CurateSettings
    student: StudentSettings
    pretrain: PretrainSettings


class Recipe(Settings):
    """The whole of a run, section by section in the order of the flow.

    Stages that a recipe has no section for (`phantom`, `specialists`, `evidence`, `rivals`) are left out. A rival is
    another student from the same stage 1: its table holds only the keys in which it differs from `[distill]`.
    leave_out: names of teachers and specialists that this run does without.

    name: of the run, in the report and on the model card; letters, digits, dots, underscores and hyphens. seed: of
    every random choice of the run. executor: who hands out the work of the stages that can be shared; like `[machine]`
    it changes no result.
    """

    name: Name
    seed: int = Field(default=0, ge=0, lt=2**32)
    leave_out: list[str] = []
    machine: Machine = Machine()
    executor: AnyExecutor = LocalSettings()
    phantom: PhantomSettings | None = None
    specialists: list[SpecialistSettings] = []
    curate: CurateSettings
    teachers: list[TeacherSpec] = []
    extract: ExtractSettings = ExtractSettings()
    evidence: EvidenceSettings | None = None
    reliability: ReliabilitySettings = ReliabilitySettings()
    student: StudentSettings
    pretrain: PretrainSettings = PretrainSettings()
    distill: DistillSettings = DistillSettings()
    rivals: dict[Name, DistillSettings] = {}
    evaluate: EvaluateSettings
    export: ExportSettings = ExportSettings()
    _folder: Path | None = PrivateAttr(None)
    _places: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def trainings(self) -> dict[str, TrainSettings]:
        """Every training of the student, by the name of its folder."""
        rivals = {f"rivals/{name}": settings for name, settings in self.rivals.items()}
        return {"pretrain": self.pretrain, **rivals, "distill": self.distill}

    def relative(self, path: str) -> str:
        """A path of a section as it leads there from the recipe's folder, where the recipe says it so or the place is
        below that folder; any other as it is."""
        return self._places.get(path) or path.removeprefix(f"{self._folder}/")

    @model_validator(mode="after")
    def _names(self) -> "Recipe":
        names = [teacher.name for teacher in self.teachers] + [one.name for one in self.specialists]
        if not names:
            raise ValueError("no teacher: give at least one [[teachers]] or [[specialists]]")
        if strangers := sorted(set(self.leave_out) - set(names)):
            raise ValueError(f"leave_out: no teacher {strangers[0]!r}; {nearest(strangers[0], names)}")
        if not set(names) - set(self.leave_out):
            raise ValueError("leave_out: no teacher is left; name fewer")
        taken = [*names, *self.rivals, *RESERVED]
        twice = sorted({name for name in taken if taken.count(name) > 1})
        if twice:
            raise ValueError(f"names used twice or reserved: {', '.join(twice)}; every model needs its own")
        return self

    @model_validator(mode="after")
    def _evidence(self) -> "Recipe":
        if self.reliability.needs_evidence and self.evidence is None:
            raise ValueError(
                'reliability.modality = "evidence" needs the teachers\' votes on modalities: add a section [evidence], '
                "which 'mmkd run' and 'mmkd evidence' make before the reliability"
            )
        return self

    @model_validator(mode="after")
    def _stack(self) -> "Recipe":
        students = {"distill": self.distill, **{f"rivals.{name}": one for name, one in self.rivals.items()}}
        stacked = [name for name, one in students.items() if one.is_stacked]
        if stacked and self.reliability.method != "stacking":
            raise ValueError(
                f"{', '.join(stacked)}: the term 'stacked' follows the stack of the teachers, which [reliability] "
                f'method = "{self.reliability.method}" does not fit; set [reliability] method = "stacking", or choose '
                "another objective"
            )
        return self

    @model_validator(mode="after")
    def _patches(self) -> "Recipe":
        students = {"distill": self.distill, **{f"rivals.{name}": one for name, one in self.rivals.items()}}
        for name, one in students.items():
            if problem := one.patch_problem(self.extract.patches):
                raise ValueError(f"{name}: {problem}")
        return self


def load_recipe(path: Path, out: Path, changes: Sequence[str] = (), over: Mapping[str, Any] | None = None) -> Recipe:
    """Read and check a recipe. `${out}` and environment variables are filled in; changes are `section.key=value`.

    over: tables that are laid over the file's, key by key. Keys of the release before are read as well, and a line
    gives their new names. Raises ConfigError that lists every problem at once.
    """
    data = overlaid(with_new_names(read_toml(path), say=warn), with_new_names(over or {}, say=warn))
    for change in changes:
        _apply(data, change)
    data = expand(data, {**os.environ, "out": str(out.resolve())})
    data["rivals"] = _rivals(data)
    folder = path.resolve().parent
    recipe = parse(Recipe, data, str(path), {"base": folder})
    recipe._folder = folder
    recipe._places.update(_places(data, folder))
    if recipe.distill.without_effect and not over:  # a variant may select what reads fewer keys of its recipe
        raise ConfigError(f"{path}: distill: {recipe.distill.problem}")
    return recipe


class _Executor(Settings):
    executor: AnyExecutor = LocalSettings()


def executor_of(changes: Sequence[str]) -> AnyExecutor:
    """Of a command without a recipe. changes: `executor.key=value`. Raises ConfigError for what is none."""
    data: dict[str, Any] = {}
    for change in changes:
        _apply(data, change)
    return parse(_Executor, data, "the command's options").executor


def _places(value: Any, folder: Path) -> Iterator[tuple[str, str]]:
    """Where each text leads that may be a relative path, perhaps behind `local-dir:`, and how it leads there."""
    if isinstance(value, str):
        for text in {value, value.rpartition(":")[2]}:
            if text and not os.path.isabs(text) and "\0" not in text:
                yield str((folder / text).resolve()), os.path.relpath(folder / text, folder)
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for item in inside:
        yield from _places(item, folder)


def _rivals(data: Mapping[str, Any]) -> dict[str, Any]:
    """Each rival's table laid over `[distill]`, so that it differs in the keys it names and in no other.

    Except for `matryoshka`, which a rival whose loss maps whole vectors cannot have.
    """
    rivals = data.get("rivals", {})
    if not isinstance(rivals, Mapping):
        raise ConfigError("rivals: expected a table per rival, [rivals.NAME]")
    found = {name: overlaid(data.get("distill", {}), table) for name, table in rivals.items()}
    for name, table in rivals.items():
        if "matryoshka" in found[name] and "matryoshka" not in table and whole_vectors(found[name]):
            del found[name]["matryoshka"]
    return found


def _apply(data: dict[str, Any], change: str) -> None:
    """Set one dotted key to a TOML value; bare words are taken as strings."""
    key, separator, text = change.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {change!r}: expected section.key=value")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text
    *tables, last = key_with_new_names(key.strip().split("."), warn)
    for table in tables:
        data = data.setdefault(table, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {change!r}: {table} is not a table of the recipe")
    data[last] = value
