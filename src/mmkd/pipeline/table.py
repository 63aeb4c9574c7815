"""The table of stages: one row for each, in the order of a run. A new stage is one row and one body.

What rows name is imported inside the bodies: the command line and `mmkd runs` read this table at every start.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd.distributed import ALONE, World
from mmkd.folders.stage import Stage, digest_of, status
from mmkd.pipeline import stages, trainings

if TYPE_CHECKING:
    from mmkd.pipeline.run import Run

PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class StageSpec:
    """One stage: a step of `mmkd run` and a command of its own.

    help: of the command; its first paragraph is the line in `mmkd --help`. folders: what the stage publishes below the
    run's folder. inputs: finished folders of the run that it reads. In both, `{teacher}`, `{specialist}` and `{rival}`
    stand for all names of the recipe, `{evidence}` for the folder where the reliability is measured by it, and
    `{reliability}` for the folder where it has a stack of the teachers.
    section: of the recipe; without it the stage is left out. "" for a stage of every run. parallel: the processes of
    torchrun share the work; otherwise rank 0 works and the others wait. handed_out: an executor may have its work done
    by others, so that this process is free for another stage. is_training: `[machine] gpus` has it start processes that
    train together. old_name: of its command in the release before.
    """

    name: str
    help: str
    folders: tuple[str, ...]
    inputs: tuple[str, ...]
    body: Callable[["StageSpec", "Run", World], None]
    section: str = ""
    parallel: bool = False
    handed_out: bool = False
    is_training: bool = False
    old_name: str = ""

    def is_used(self, run: "Run") -> bool:
        """Whether the recipe has work for it."""
        return not self.section or bool(getattr(run.recipe, self.section))

    def folder_names(self, run: "Run") -> list[str]:
        """What it publishes, below the run's folder."""
        return expanded(self.folders, run.names) if self.is_used(run) else []

    def input_names(self, run: "Run") -> list[str]:
        """What it reads, below the run's folder."""
        return expanded(self.inputs, run.names)

    def paths(self, run: "Run") -> list[Path]:
        """What it publishes."""
        return [run.out / name for name in self.folder_names(run)]

    @property
    def patterns(self) -> list[str]:
        """The same without a recipe, as patterns of names."""
        return [PLACEHOLDER.sub("*", folder) for folder in self.folders]

    def work(self, run: "Run", world: World = ALONE) -> None:
        """Publish what is not finished. Does nothing where the recipe has no work for the stage."""
        if self.is_used(run):
            self.check_inputs(run)
            self.body(self, run, world)

    def check_inputs(self, run: "Run") -> None:
        """Raise DataError where a finished folder that the stage reads is damaged."""
        for folder in (run.out / name for name in self.input_names(run)):
            if status(folder) == "complete":
                digest_of(folder)


@dataclass(frozen=True)
class OneFolder:
    """The body of a stage that publishes one folder, which its settings and its row's inputs decide.

    settings: as the manifest keeps them. make: fills the stage's partial folder and returns its counts.
    """

    settings: Callable[["Run"], Mapping[str, Any]]
    make: Callable[["Run", Stage], Mapping[str, int]]
    outputs: tuple[str, ...] = ("**/*",)

    def __call__(self, spec: StageSpec, run: "Run", world: World) -> None:
        (name,) = spec.folder_names(run)

        def made_from() -> Stage:
            return run.stage(spec.name, name, self.settings(run), spec.input_names(run), self.outputs)

        run.finish(name, made_from, lambda stage: self.make(run, stage), world)


def expanded(templates: Sequence[str], names: Mapping[str, Sequence[str]]) -> list[str]:
    """`features/{teacher}` -> a folder for each teacher."""
    found = []
    for template in templates:
        place = PLACEHOLDER.search(template)
        values = names[place.group(1)] if place else [""]
        found += [template.replace(place.group(0), value) if place else template for value in values]
    return found


STAGES: dict[str, StageSpec] = {
    spec.name: spec
    for spec in (
        StageSpec(
            "world",
            "Write the embedded synthetic world (recipes that have a phantom section).",
            folders=("world",),
            inputs=(),
            body=OneFolder(stages.world_settings, stages.world),
            section="phantom",
        ),
        StageSpec(
            "specialists",
            "Train the recipe's own small teachers (recipes that have specialists).",
            folders=("specialists/{specialist}",),
            inputs=("world",),
            body=trainings.train_all,
            section="specialists",
        ),
        StageSpec(
            "curate",
            "Read the sources, clean and check every pair, drop duplicates, split by group.\n\n"
            "On several nodes, each with its [machine] workers: torchrun --nproc-per-node 1 -m mmkd curate RECIPE.",
            folders=("corpus",),
            inputs=("world",),
            body=stages.curate,
            handed_out=True,
            parallel=True,
        ),
        StageSpec(
            "extract",
            "Compute every teacher's features of the corpus, each image decoded once.\n\n"
            "On several GPUs or nodes: torchrun --nproc-per-node N -m mmkd extract RECIPE.",
            folders=("features/{teacher}",),
            inputs=("corpus", "specialists/{specialist}"),
            body=stages.extract,
            handed_out=True,
            parallel=True,
        ),
        StageSpec(
            "evidence",
            "Let the teachers vote on each picture's modality, and show how far all evidence agrees.\n\n"
            "The corpus stays as it is: the votes lie beside it, in the run's folder `evidence`. A recipe without a "
            "section [evidence] has the defaults.",
            folders=("evidence",),
            inputs=("corpus", "features/{teacher}"),
            body=OneFolder(stages.evidence_settings, stages.evidence, ("*.parquet", "*.json")),
            section="evidence",
        ),
        StageSpec(
            "reliability",
            "Measure how reliable each teacher is on each modality, and print the table.",
            folders=("reliability",),
            inputs=("corpus", "features/{teacher}", "{evidence}"),
            body=OneFolder(stages.reliability_settings, stages.reliability),
            old_name="calibrate",
        ),
        StageSpec(
            "pretrain",
            "Stage 1: train the student on the captions.",
            folders=("pretrain",),
            inputs=("corpus",),
            body=trainings.train_all,
            parallel=True,
            is_training=True,
        ),
        StageSpec(
            "distill",
            "Stage 2: distil the teachers into the student; train the rivals it is compared with.",
            folders=("rivals/{rival}", "distill"),
            inputs=("corpus", "pretrain", "reliability", "features/{teacher}"),
            body=trainings.train_all,
            parallel=True,
            is_training=True,
        ),
        StageSpec(
            "evaluate",
            "Evaluate teachers and students (with a recipe), or any models (with --model), on all six types of task.",
            folders=("evaluate",),
            inputs=("corpus", "features/{teacher}", "{reliability}", "pretrain", "rivals/{rival}", "distill"),
            body=stages.evaluate,
            handed_out=True,
        ),
        StageSpec(
            "report",
            "Write the results as one HTML page that opens offline, with tables as CSV and LaTeX beside it.",
            folders=("report",),
            inputs=("evaluate", "reliability"),
            body=stages.report,
        ),
        StageSpec(
            "export",
            "Write the student for open_clip, transformers and ONNX Runtime, checked against it, with a model card.\n\n"
            "RECIPE writes runs/<name>/export; MODEL is any open_clip folder, and needs --out.",
            folders=("export",),
            inputs=("distill", "reliability", "corpus", "evaluate"),
            body=OneFolder(stages.export_settings, stages.export),
        ),
    )
}


def is_read(spec: StageSpec) -> bool:
    """Whether another stage reads what it publishes; of a report and an export none does."""
    return any(folder in other.inputs for other in STAGES.values() for folder in spec.folders) or any(
        f"{{{spec.name}}}" in other.inputs for other in STAGES.values()
    )


def needed_for(run: "Run", name: str) -> list[StageSpec]:
    """The stages whose folders the named one reads, and those that these read, in the order of a run; it, at last."""
    publisher = {folder: spec for spec in STAGES.values() for folder in spec.folder_names(run)}
    needed, waiting = {name}, [STAGES[name]]
    while waiting:
        found = {publisher[read].name for read in waiting.pop().input_names(run) if read in publisher} - needed
        needed |= found
        waiting += [STAGES[one] for one in found]
    return [spec for spec in STAGES.values() if spec.name in needed]
