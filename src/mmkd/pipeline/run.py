"""A recipe at work in a folder: names of folders, and what they are made from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmkd.distributed import ALONE, World
from mmkd.errors import ConfigError
from mmkd.executors.executor import Executor
from mmkd.folders.stage import Stage, complete, content_digest, digest_of
from mmkd.pipeline.recipe import Recipe, SpecialistSettings
from mmkd.pipeline.standing import Standing, stand, unmade
from mmkd.settings import Settings
from mmkd.teachers.zoo.settings import LOCAL, TeacherSpec
from mmkd.validation import nearest


@dataclass(frozen=True)
class Run:
    """A recipe at work in a folder. pool: where finished stages lie that several runs share; `out` then has links.

    standings: of a run that is only looked at: its stages do no work, but say here how their folders stand.
    """

    recipe: Recipe
    out: Path
    force: bool = False
    pool: Path | None = None
    standings: dict[str, Standing] | None = None

    @property
    def teachers(self) -> list[TeacherSpec]:
        """The recipe's own teachers, and the specialists it trains."""
        trained = [
            TeacherSpec(name=one.name, licence=one.licence, model=f"{LOCAL}{self.out / 'specialists' / one.name}")
            for one in self.specialists
        ]
        return [*[one for one in self.recipe.teachers if one.name not in self.recipe.leave_out], *trained]

    @property
    def executor(self) -> Executor:
        """Who hands out its work."""
        return self.recipe.executor.open()

    @property
    def specialists(self) -> list[SpecialistSettings]:
        """Those that the run trains."""
        return [one for one in self.recipe.specialists if one.name not in self.recipe.leave_out]

    def named_teachers(self, names: Sequence[str]) -> list[TeacherSpec]:
        """The named teachers, all without names. Raises ConfigError for a name that the recipe does not have."""
        known = {teacher.name: teacher for teacher in self.teachers}
        for name in names:
            if name not in known:
                raise ConfigError(f"no teacher {name!r} in the recipe; {nearest(name, list(known))}")
        return [known[name] for name in names or known]

    @property
    def names(self) -> dict[str, list[str]]:
        """What the placeholders of the table of stages stand for."""
        return {
            "specialist": [one.name for one in self.specialists],
            "teacher": [one.name for one in self.teachers],
            "rival": list(self.recipe.rivals),
            "evidence": ["evidence"] if self.recipe.reliability.needs_evidence else [],
            "reliability": ["reliability"] if self.recipe.reliability.method == "stacking" else [],
        }

    @property
    def students(self) -> dict[str, Path]:
        """Name in the results -> open_clip folder."""
        rivals = {name: self.out / "rivals" / name for name in self.recipe.rivals}
        return {"stage1": self.out / "pretrain", **rivals, "student": self.out / "distill"}

    def stage(
        self,
        kind: str,
        name: str,
        settings: Mapping[str, Any],
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        paths_of: Settings | None = None,
    ) -> Stage:
        """A stage of this run; inputs are names of folders of the run that must be finished.

        paths_of: a section that names files of the run which no input stands for, see `pooled`.
        """
        digests = {name: self.digest(name) for name in inputs}
        made = Stage(kind, self.out / name, settings, digests, tuple(outputs) or ("**/*",), kept=self.kept)
        return self.pooled(made, paths_of)

    def digest(self, name: str) -> str:
        """Of a finished folder of the run; in a run that is looked at, a sign for those that are made before."""
        standing = (self.standings or {}).get(name)
        return unmade(name) if standing and standing.is_work else digest_of(self.out / name)

    def finish(
        self,
        name: str,
        made_from: Callable[[], Stage],
        make: Callable[[Stage], Mapping[str, int]],
        world: World = ALONE,
    ) -> None:
        """Publish a folder of the run, unless it is finished or the run is only looked at."""
        if not self.is_looked_at(name, made_from):
            stage = made_from()
            complete(stage, lambda _: make(stage), self.force, world)

    def is_looked_at(self, name: str, made_from: Callable[[], Stage]) -> bool:
        """Whether the run is only looked at; then it is known from now on how the folder stands."""
        if self.standings is not None:
            self.standings[name] = stand(self.out / name, made_from, self.standings, self.force)
        return self.standings is not None

    def pooled(self, stage: Stage, paths_of: Settings | None = None) -> Stage:
        """The stage in the run's pool, if it has one; then what lies at the section's paths counts as input too.

        Within one run a table of pairs or a tokenizer is known by its path. Runs that share a pool may have different
        worlds below the same path: there its files decide.
        """
        if self.pool is None:
            return stage
        named = _paths_below(paths_of.model_dump(mode="json") if paths_of else {}, str(self.out))
        homes = {path if path.is_dir() else path.parent for path in named}
        digests = {str(home.relative_to(self.out)): content_digest(home, ("**/*",)) for home in sorted(homes)}
        return replace(stage, inputs={**stage.inputs, **digests}).in_pool(self.pool)

    def plain(self, section: Settings) -> dict[str, Any]:
        """A recipe section as the manifest keeps it, see `kept`."""
        kept: dict[str, Any] = self.kept(section.model_dump(mode="json"))
        return kept

    def kept(self, value: Any) -> Any:
        """Settings as the manifest keeps them: paths in the run's folder as `${out}`, those in the recipe's relative to
        it, so that both can be moved."""
        return with_paths(value, self._kept_path)

    def _kept_path(self, path: str) -> str:
        if path == str(self.out) or path.startswith(f"{self.out}/"):
            return f"${{out}}{path.removeprefix(str(self.out))}"
        return path if self.pool else self.recipe.relative(path)  # recipes of any folder may share a pool


def with_paths(value: Any, change: Callable[[str], str]) -> Any:
    """The same with every absolute path changed, also behind `local-dir:`."""
    if isinstance(value, str):
        start = 0 if value.startswith("/") else value.find(":/") + 1
        is_path = value.startswith("/", start) and not value.startswith("//", start)
        return value[:start] + change(value[start:]) if is_path else value
    if isinstance(value, dict):
        return {key: with_paths(item, change) for key, item in value.items()}
    return [with_paths(item, change) for item in value] if isinstance(value, list) else value


def _paths_below(value: Any, out: str) -> list[Path]:
    if isinstance(value, str):
        return [Path(value)] if value.startswith(f"{out}/") else []
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [path for item in inside for path in _paths_below(item, out)]
