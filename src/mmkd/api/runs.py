"""Runs and their stages from Python, and the folder of a run as tables and plots."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mmkd.errors import ConfigError, DataError
from mmkd.folders.stage import read_log, read_manifest, status
from mmkd.pipeline.recipe import load_recipe
from mmkd.pipeline.run import Run
from mmkd.pipeline.shipped import recipe_file
from mmkd.pipeline.status import finished_folders, is_run
from mmkd.pipeline.table import STAGES
from mmkd.pipeline.work import work_all, work_one
from mmkd.validation import nearest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from mmkd.api.model import LoadedModel


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, finished or not; a notebook shows it as the table of what is finished."""

    folder: Path

    def _repr_html_(self) -> str:
        return str(self.finished().to_html(index=False, notebook=True))

    def finished(self) -> "pd.DataFrame":
        """A row for each finished folder: its stage's kind, the seconds that it took, and what it counts."""
        import pandas as pd

        rows = [
            {
                "folder": str(path.relative_to(self.folder)),
                "kind": read_manifest(path)["kind"],
                "seconds": read_log(path).get("wall_s"),
                "counts": read_manifest(path)["counts"],
            }
            for path in finished_folders(self.folder)
        ]
        return pd.DataFrame(rows, columns=["folder", "kind", "seconds", "counts"])

    def results(self) -> "pd.DataFrame":
        """The evaluation: a row for each model, data set, task, metric and subset, with its interval."""
        import pandas as pd

        from mmkd.evaluation.format.results import read_results

        return pd.DataFrame([asdict(row) for row in read_results(self.folder / "evaluate")])

    def comparisons(self) -> "pd.DataFrame":
        """The student minus each rival, with intervals and p-values."""
        import pandas as pd

        from mmkd.evaluation.format.results import read_comparisons

        return pd.DataFrame([asdict(row) for row in read_comparisons(self.folder / "evaluate")])

    def reliability(self) -> "pd.DataFrame":
        """Percentile of each teacher (columns) on each modality or cluster (rows)."""
        import pandas as pd

        from mmkd.reliability.table import load_reliability

        cells = pd.DataFrame([asdict(cell) for cell in load_reliability(self.folder / "reliability").cells])
        return cells.pivot(index="group", columns="teacher", values="percentile")

    def curves(self, training: str = "distill") -> "pd.DataFrame":
        """The records of a training: step, losses, rates. Raises DataError for a training that the run has not."""
        import pandas as pd

        from mmkd.training.records.curves import read_curves

        found = read_curves(self.folder)
        if training not in found:
            raise DataError(f"{self.folder}: no training {training!r}; {nearest(training, list(found))}")
        return pd.DataFrame(found[training])

    def plot_results(self, task: str = "zero_shot", metric: str = "", ax: "Axes | None" = None) -> "Axes":
        """The mean of a task over its data sets, a point and a 95 % interval for each model.

        metric: the one that ranks models, where none is named. Raises DataError where the run has no such results.
        """
        from mmkd.evaluation.tasks.table import TASKS

        if task not in TASKS:
            raise ConfigError(f"task {task!r}: {nearest(task, list(TASKS))}")
        wanted = metric or TASKS[task].primary
        found = self.results()
        rows = found[(found["task"] == task) & (found["metric"] == wanted) & (found["subset"] == "all")]
        means = rows[(rows["dataset"] == "mean") & (rows["modality"] == "mean")]
        shown = (means if len(means) else rows).dropna(subset=["low", "high"]).sort_values("value")
        if shown.empty:
            raise DataError(f"{self.folder}: no results of {task} in {wanted}; see RunFolder.results()")
        axes = ax or _axes()
        labels = shown["model"] if len(means) else shown["model"] + ", " + shown["dataset"]
        widths = [shown["value"] - shown["low"], shown["high"] - shown["value"]]
        axes.errorbar(shown["value"], labels, xerr=widths, fmt="o", capsize=3)
        axes.set_xlabel(f"{task}: {wanted}, 95 % interval")
        return axes

    def plot_curves(self, training: str = "distill", value: str = "loss", ax: "Axes | None" = None) -> "Axes":
        """A value of a training by step."""
        records = self.curves(training)
        if value not in records:
            raise DataError(f"{training}: no {value!r} in its records; {nearest(value, list(records.columns))}")
        axes = ax or _axes()
        axes.plot(records["step"], records[value])
        axes.set(xlabel="step", ylabel=value, title=training)
        return axes

    def model(self, device: str = "auto", precision: str = "fp32") -> "LoadedModel":
        """The exported student. Raises DataError where the export is not finished."""
        from mmkd.api.model import load

        if status(self.folder / "export") != "complete":
            raise DataError(f"{self.folder / 'export'} is not finished; make it with mmkd.stages.export")
        return load(self.folder / "export", device, precision)


def _axes() -> "Axes":
    try:
        from matplotlib.figure import Figure
        from matplotlib.pyplot import subplots
    except ImportError as error:
        raise DataError("plots need matplotlib; install it with: pip install matplotlib") from error
    made: tuple[Figure, Axes] = subplots(layout="constrained")
    return made[1]


def open_run(folder: str | Path) -> RunFolder:
    """The folder of a run that is there. Raises DataError where there is none."""
    if not Path(folder).is_dir() or not is_run(Path(folder)):
        raise DataError(f"{folder}: no run found; mmkd.run(RECIPE, out={str(folder)!r}) makes one")
    return RunFolder(Path(folder).resolve())


def run(recipe: str | Path, out: str | Path | None = None, force: bool = False, **changes: Any) -> RunFolder:
    """Every stage of a recipe, as `mmkd run`: what is finished is skipped, what was cut off goes on.

    recipe: a TOML file, or the name of one of mmkd's own. out: folder of the run, runs/NAME without it. force: make
    anew what was made from other settings. changes: keys of the recipe, sections as mappings, as in
    `run("demo", seed=1, pretrain={"epochs": 2})`.
    """
    work = _opened(recipe, out, force, changes)
    work_all(work)
    return RunFolder(work.out)


class StageFunction(Protocol):
    def __call__(
        self, recipe: str | Path, out: str | Path | None = None, force: bool = False, **changes: Any
    ) -> RunFolder: ...


class Stages:
    """The stages of the table, each as a function with the arguments of `run`: `mmkd.stages.curate("my.toml")`."""

    def __getattr__(self, name: str) -> StageFunction:
        if name not in STAGES:
            raise AttributeError(f"no stage {name!r}; {nearest(name, list(STAGES))}")
        return _function(name)

    def __dir__(self) -> list[str]:
        return list(STAGES)


def _function(name: str) -> Callable[..., RunFolder]:
    def stage(recipe: str | Path, out: str | Path | None = None, force: bool = False, **changes: Any) -> RunFolder:
        work = _opened(recipe, out, force, changes)
        work_one(work, name)
        return RunFolder(work.out)

    stage.__name__ = stage.__qualname__ = name
    stage.__doc__ = f"{STAGES[name].help}\n\nThe arguments are those of `mmkd.run`."
    return stage


stages = Stages()


def _opened(recipe: str | Path, out: str | Path | None, force: bool, changes: dict[str, Any]) -> Run:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # as the command line does
    path = Path(recipe)
    folder = Path(out or Path("runs") / path.stem).resolve()
    read = load_recipe(recipe_file(path), folder, over=changes)
    if read.distill.without_effect:  # with `over`, the recipe's own check is left to its caller
        raise ConfigError(f"{recipe}: distill: {read.distill.problem}")
    return Run(read, folder, force)
