"""The main job, stage by stage: what each reads, what it writes, and under which name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.errors import ConfigError
from mmkd.progress import say
from mmkd.recipe import Recipe, SpecialistSettings
from mmkd.settings import Settings
from mmkd.stage import MANIFEST, Stage, complete, content_digest, digest_of
from mmkd.teachers.settings import TeacherSpec

MODEL_FILES = ("open_clip_model.safetensors", "open_clip_config.json")


@dataclass(frozen=True)
class Run:
    """A recipe at work in a folder."""

    recipe: Recipe
    out: Path
    force: bool = False

    @property
    def teachers(self) -> list[TeacherSpec]:
        """The recipe's own teachers, and the specialists it trains."""
        trained = [
            TeacherSpec(name=one.name, licence=one.licence, model=f"local-dir:{self.out / 'specialists' / one.name}")
            for one in self.recipe.specialists
        ]
        return [*self.recipe.teachers, *trained]

    @property
    def students(self) -> dict[str, Path]:
        """Name in the results -> open_clip folder."""
        rivals = {name: self.out / "rivals" / name for name in self.recipe.rivals}
        return {"stage1": self.out / "pretrain", **rivals, "student": self.out / "distill"}

    def stage(
        self, kind: str, name: str, settings: Mapping[str, Any], inputs: Sequence[str] = (), outputs: Sequence[str] = ()
    ) -> Stage:
        """A stage of this run; inputs are names of folders of the run that must be finished."""
        digests = {name: digest_of(self.out / name) for name in inputs}
        return Stage(kind, self.out / name, settings, digests, tuple(outputs) or ("**/*",))


def plain(section: Settings) -> dict[str, Any]:
    """A recipe section as the manifest keeps it."""
    return section.model_dump(mode="json")


def world(run: Run) -> None:
    """Write the embedded world, where the recipe has one."""
    if run.recipe.phantom is None:
        return
    from mmkd.corpus.phantom.write import write_world

    phantom, recipe = run.recipe.phantom, run.recipe
    stage = run.stage("world", "world", {**plain(phantom), "seed": recipe.seed})
    complete(stage, lambda folder: write_world(phantom, folder, recipe.machine, recipe.seed), run.force)


def specialists(run: Run) -> None:
    """Train the recipe's own teachers: each curates its pairs and goes through stage 1."""
    for one in run.recipe.specialists:
        _curate(run, one.curate, f"specialists/{one.name}.corpus")
        _pretrain(run, one, f"specialists/{one.name}.corpus", f"specialists/{one.name}")


def curate(run: Run) -> None:
    """Sources -> corpus."""
    _curate(run, run.recipe.curate, "corpus")


def _curate(run: Run, settings: Any, name: str) -> None:
    from mmkd.corpus.curate import curate as body
    from mmkd.corpus.curate import fingerprints

    recipe = run.recipe
    stage = Stage(
        "corpus",
        run.out / name,
        {**plain(settings), "seed": recipe.seed},
        fingerprints(settings),
        ("data-*.arrow", "rejected.parquet", "funnel.json"),
    )
    complete(stage, lambda folder: body(settings, folder, recipe.machine, recipe.seed), run.force)


def extract(run: Run) -> None:
    """Corpus x teachers -> features."""
    from mmkd.teachers.extract import extract as body

    body(run.teachers, run.recipe.extract, run.out / "corpus", run.out / "features", run.recipe.machine, run.force)


def _feature_names(run: Run) -> list[str]:
    return [f"features/{teacher.name}" for teacher in run.teachers]


def calibrate(run: Run) -> None:
    """Corpus and features -> whom to trust about what."""
    from mmkd.calibrate.calibrate import calibrate as body

    settings, seed, out = run.recipe.calibrate, run.recipe.seed, run.out
    stage = run.stage("calibration", "calibration", {**plain(settings), "seed": seed}, ["corpus", *_feature_names(run)])
    names = [teacher.name for teacher in run.teachers]
    complete(
        stage,
        lambda folder: body(settings, out / "corpus", out / "features", names, folder, seed),
        run.force,
    )


def pretrain(run: Run) -> None:
    """Stage 1."""
    _pretrain(run, run.recipe, "corpus", "pretrain")


def _pretrain(run: Run, what: Recipe | SpecialistSettings, corpus: str, name: str) -> None:
    from mmkd.training.pretrain import pretrain as body

    recipe, out = run.recipe, run.out
    settings = {"pretrain": plain(what.pretrain), "student": plain(what.student), "seed": recipe.seed}
    stage = run.stage("student", name, settings, [corpus], MODEL_FILES)
    say(f"{name}: stage 1")
    complete(
        stage,
        lambda folder: body(
            what.pretrain, what.student, out / corpus, folder, recipe.machine, recipe.seed, stage.folder
        ),
        run.force,
    )


def distill(run: Run) -> None:
    """Stage 2: the student, and the rivals it is compared with."""
    from mmkd.training.distill import Inputs
    from mmkd.training.distill import distill as body

    recipe, out = run.recipe, run.out
    inputs = Inputs(
        out / "pretrain", out / "corpus", out / "features", out / "calibration", [t.name for t in run.teachers]
    )
    todo = {f"rivals/{name}": settings for name, settings in recipe.rivals.items()} | {"distill": recipe.distill}
    for name, settings in todo.items():
        read = ["corpus", "pretrain", "calibration", *_feature_names(run)]
        stage = run.stage("student", name, {**plain(settings), "seed": recipe.seed}, read, MODEL_FILES)
        say(f"{name}: stage 2, objective {settings.objective}")

        def train(folder: Path, settings: Any = settings, home: Path = stage.folder) -> dict[str, int]:
            return body(settings, inputs, folder, recipe.machine, recipe.seed, home)

        complete(stage, train, run.force)


def evaluate(run: Run) -> None:
    """Teachers and students on every card."""
    from mmkd.evaluation.evaluate import card_fingerprints
    from mmkd.evaluation.evaluate import evaluate as body

    recipe, out = run.recipe, run.out
    settings = recipe.evaluate
    runnable = [teacher for teacher in run.teachers if teacher.library != "reference"]
    models = [
        *runnable,
        *[TeacherSpec(name=name, model=f"local-dir:{folder}") for name, folder in run.students.items()],
    ]
    digests = {name: digest_of(folder) for name, folder in run.students.items()}
    digests |= {
        t.name: content_digest(Path(t.model.removeprefix("local-dir:")), MODEL_FILES)
        for t in runnable
        if t.model.startswith("local-dir:")
    }
    stage = Stage(
        "evaluation",
        out / "evaluate",
        {**plain(settings), "seed": recipe.seed, "models": [plain(model) for model in models]},
        {**digests, **card_fingerprints(settings)},
        ("*.jsonl", "predictions/**/*.parquet"),
    )
    names = [teacher.name for teacher in runnable]
    complete(stage, lambda folder: body(settings, models, names, folder, recipe.machine, recipe.seed), run.force)


def report(run: Run) -> None:
    """Results -> one HTML page."""
    from mmkd.calibrate.calibration import load_calibration
    from mmkd.report.pages import ReportContext, write_report

    out = run.out
    curves = [(name, folder / "metrics.jsonl") for name, folder in run.students.items()]
    calibration = load_calibration(out / "calibration")
    reliability: dict[str, dict[str, float]] = {}
    for cell in calibration.cells:
        reliability.setdefault(cell.modality, {})[cell.teacher] = cell.percentile
    context = ReportContext(
        recipe=run.recipe.name,
        seed=run.recipe.seed,
        licences={teacher.name: teacher.licence for teacher in run.teachers},
        reliability=reliability,
        curves=curves,
    )
    stage = run.stage("report", "report", {"recipe": run.recipe.name}, ["evaluate", "calibration"], ["index.html"])
    complete(stage, lambda folder: write_report(out / "evaluate", folder, context), run.force)


def export(run: Run) -> None:
    """The student as an open_clip folder with a model card."""
    from mmkd.calibrate.calibration import load_calibration
    from mmkd.corpus.schema import Corpus
    from mmkd.student.export import CardFacts, read_results
    from mmkd.student.export import export as body

    recipe, out = run.recipe, run.out
    facts = CardFacts(
        recipe.export.name,
        recipe.export.note,
        recipe.name,
        load_calibration(out / "calibration"),
        Corpus(out / "corpus"),
        read_results(out / "evaluate" / "results.jsonl", ("student", "best_teacher")),
    )
    read = ["distill", "calibration", "corpus", "evaluate"]
    stage = run.stage("export", "export", {**plain(recipe.export), "recipe": recipe.name}, read)
    complete(stage, lambda folder: body(out / "distill", facts, folder, stage.folder), run.force)


STAGES: dict[str, Callable[[Run], None]] = {
    "world": world,
    "specialists": specialists,
    "curate": curate,
    "extract": extract,
    "calibrate": calibrate,
    "pretrain": pretrain,
    "distill": distill,
    "evaluate": evaluate,
    "report": report,
    "export": export,
}


def folders(run: Run) -> dict[str, list[Path]]:
    """The folders that each stage publishes, for plans and status."""
    named = {
        "world": ["world"] if run.recipe.phantom else [],
        "specialists": [f"specialists/{one.name}" for one in run.recipe.specialists],
        "curate": ["corpus"],
        "extract": _feature_names(run),
        "calibrate": ["calibration"],
        "pretrain": ["pretrain"],
        "distill": [*[f"rivals/{name}" for name in run.recipe.rivals], "distill"],
        "evaluate": ["evaluate"],
        "report": ["report"],
        "export": ["export"],
    }
    return {stage: [run.out / name for name in names] for stage, names in named.items()}


def status(folder: Path) -> str:
    """complete, partial or to do."""
    if (folder / MANIFEST).is_file():
        return "complete"
    return "partial" if folder.with_name(folder.name + ".partial").exists() else "to do"


def preflight(run: Run) -> None:
    """Load every teacher that the recipe does not train itself, so that a missing one stops the run before any work."""
    if not run.recipe.teachers:
        return
    from mmkd.device import prepare
    from mmkd.teachers.load import load_teacher

    device = prepare(run.recipe.machine)
    for spec in run.recipe.teachers:
        if spec.library == "reference":
            continue
        teacher = load_teacher(spec, device)
        say(f"teacher {spec.name}: {teacher.dim} dimensions, licence {spec.licence}")


def require(run: Run, stage: str) -> None:
    """Raise ConfigError when a stage before this one is not finished."""
    for name in list(STAGES)[: list(STAGES).index(stage)]:
        for folder in folders(run)[name]:
            if name != "report" and status(folder) != "complete":
                raise ConfigError(f"{stage} needs {folder}, which is not finished; run 'mmkd {name}' first")
