"""The main job, stage by stage: what each reads, what it writes, and under which name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd.distributed import ALONE, World, join_world
from mmkd.folders.stage import complete, complete_together, content_digest, digest_of
from mmkd.pipeline.recipe import Recipe, SpecialistSettings
from mmkd.pipeline.run import Run, feature_names
from mmkd.progress import say
from mmkd.teachers.zoo.settings import LOCAL, REFERENCE, ZOO, TeacherSpec

if TYPE_CHECKING:
    from mmkd.evaluation.format.results import Result

MODEL_FILES = ("open_clip_model.safetensors", "open_clip_config.json")


def world(run: Run) -> None:
    """Write the embedded world, where the recipe has one."""
    if run.recipe.phantom is None:
        return
    from mmkd.phantom.write import write_world

    phantom, recipe = run.recipe.phantom, run.recipe
    stage = run.stage("world", "world", {**run.plain(phantom), "seed": recipe.seed})
    complete(stage, lambda folder: write_world(phantom, folder, recipe.machine, recipe.seed), run.force)


def specialists(run: Run) -> None:
    """Train the recipe's own teachers: each curates its pairs and goes through stage 1."""
    for one in run.specialists:
        _curate(run, one.curate, f"specialists/{one.name}.corpus")
        _pretrain(run, one, f"specialists/{one.name}.corpus", f"specialists/{one.name}", ALONE)


def curate(run: Run) -> None:
    """Sources -> corpus; under torchrun the processes share the parts."""
    with join_world() as world:
        _curate(run, run.recipe.curate, "corpus", world)


def _curate(run: Run, settings: Any, name: str, world: World = ALONE) -> None:
    from mmkd.curation.curate import corpus_stage
    from mmkd.curation.curate import curate as body
    from mmkd.evaluation.leakage.avoid import EvaluationPictures
    from mmkd.report.curation import write_ledger

    recipe = run.recipe
    avoided = EvaluationPictures(settings, recipe.evaluate.variables, recipe.machine.loaders)
    stage = corpus_stage(run.out / name, settings, run.plain(settings), recipe.seed, avoided.fingerprints())

    def make(folder: Path) -> Mapping[str, int]:
        counts = body(settings, folder, recipe.machine, recipe.seed, avoided.read, world)
        if world.first:
            write_ledger(folder, name)
        return counts

    complete_together(run.pooled(stage, settings), make, run.force, world=world)


def extract(run: Run, names: Sequence[str] = ()) -> None:
    """Corpus x teachers -> features; of the named teachers only, if there are names; shared by torchrun's processes."""
    from mmkd.features.extract import extract as body

    recipe, out = run.recipe, run.out
    specs = run.named_teachers(names)
    with join_world() as world:
        body(specs, recipe.extract, out / "corpus", out / "features", recipe.machine, run.force, world)


def evidence(run: Run) -> None:
    """Corpus and features -> what the teachers see of each picture's modality, where the recipe asks for it."""
    if run.recipe.evidence is None:
        return
    from mmkd.curation.shard_cache import tables
    from mmkd.features.evidence.evidence import evidence as body
    from mmkd.features.evidence.stored import FACTS_FILE, ROWS_FILE
    from mmkd.report.evidence import write_evidence_page

    recipe, out, settings = run.recipe, run.out, run.recipe.evidence
    names = [teacher.name for teacher in run.teachers]
    is_fine = recipe.curate.modality.names == "fine"
    made_from = {**run.plain(settings), "names": recipe.curate.modality.names, "tables": tables()}
    outputs = (ROWS_FILE, FACTS_FILE)  # the page tells of them
    stage = run.stage("evidence", "evidence", made_from, ["corpus", *feature_names(run)], outputs)

    def make(folder: Path) -> Mapping[str, int]:
        counts = body(settings, out / "corpus", out / "features", names, folder, recipe.machine, is_fine)
        write_evidence_page(folder, out / "corpus")
        return counts

    complete(stage, make, run.force)


def calibrate(run: Run) -> None:
    """Corpus and features -> whom to trust about what; with modalities of the evidence where the recipe asks for it."""
    from mmkd.reliability.stage import measure_reliability as body

    settings, seed, out = run.recipe.calibrate, run.recipe.seed, run.out
    evidence = out / "evidence" if settings.needs_evidence else None
    plain = run.plain(settings)
    plain.pop("modality")  # the input `evidence` tells; so calibrations made before there was a choice stay good
    read = ["corpus", *feature_names(run), *(["evidence"] if evidence else [])]
    stage = run.stage("calibration", "calibration", {**plain, "seed": seed}, read)
    names = [teacher.name for teacher in run.teachers]
    complete(
        stage,
        lambda folder: body(settings, out / "corpus", out / "features", names, folder, seed, evidence),
        run.force,
    )


def pretrain(run: Run) -> None:
    """Stage 1; under torchrun all processes train together."""
    with join_world() as world:
        _pretrain(run, run.recipe, "corpus", "pretrain", world)


def _pretrain(run: Run, what: Recipe | SpecialistSettings, corpus: str, name: str, world: World) -> None:
    from mmkd.training.pretrain import pretrain as body

    recipe, out = run.recipe, run.out
    settings = {"pretrain": run.plain(what.pretrain), "student": run.plain(what.student), "seed": recipe.seed}
    stage = run.stage("student", name, settings, [corpus], MODEL_FILES, reads=what.student)
    say(f"{name}: stage 1")
    complete_together(
        stage,
        lambda folder: body(
            what.pretrain, what.student, out / corpus, folder, recipe.machine, recipe.seed, stage.folder, world
        ),
        run.force,
        world=world,
    )
    _draw_curves(run, world)


def _draw_curves(run: Run, world: World) -> None:
    """One page for all trainings of a run; runs that share a pool are many, and their results are drawn elsewhere."""
    from mmkd.report.training_page import refresh_curves

    if world.first and run.pool is None:
        refresh_curves(run.out)


def distill(run: Run) -> None:
    """Stage 2: the student, and the rivals it is compared with; under torchrun all processes train together."""
    with join_world() as world:
        _distill(run, world)


def _distill(run: Run, world: World) -> None:
    from mmkd.training.distill import Inputs
    from mmkd.training.distill import distill as body

    recipe, out = run.recipe, run.out
    inputs = Inputs(
        out / "pretrain", out / "corpus", out / "features", out / "calibration", [t.name for t in run.teachers]
    )
    todo = {f"rivals/{name}": settings for name, settings in recipe.rivals.items()} | {"distill": recipe.distill}
    for name, settings in todo.items():
        read = ["corpus", "pretrain", "calibration", *feature_names(run)]
        stage = run.stage("student", name, {**run.plain(settings), "seed": recipe.seed}, read, MODEL_FILES)
        say(f"{name}: stage 2, objective {settings.objective}")

        def train(folder: Path, settings: Any = settings, home: Path = stage.folder) -> Mapping[str, int]:
            return body(settings, inputs, folder, recipe.machine, recipe.seed, home, world)

        complete_together(stage, train, run.force, world=world)
        _draw_curves(run, world)


def evaluate(run: Run) -> None:
    """Teachers and students on every card."""
    from mmkd.evaluation.publish import Evaluation, publish_evaluation

    recipe, out = run.recipe, run.out
    runnable = [teacher for teacher in run.teachers if teacher.library != REFERENCE]
    students = [TeacherSpec(name=name, model=f"{LOCAL}{folder}") for name, folder in run.students.items()]
    digests = {"corpus": digest_of(out / "corpus")}
    digests |= {name: digest_of(folder) for name, folder in run.students.items()}
    digests |= {
        t.name: content_digest(Path(t.model.removeprefix(LOCAL)), MODEL_FILES)
        for t in runnable
        if t.model.startswith(LOCAL)
    }
    digests |= {t.name: digest_of(out / "features" / t.name) for t in runnable if t.library == ZOO}
    one = Evaluation(
        name=recipe.name,
        settings=recipe.evaluate,
        models=[*runnable, *students],
        licences={teacher.name: teacher.licence for teacher in run.teachers},
        machine=recipe.machine,
        seed=recipe.seed,
        corpus=out / "corpus",
        digests=digests,
        plain=run.plain,
    )
    publish_evaluation(one, out, run.force)


def report(run: Run) -> None:
    """Results -> one HTML page."""
    from mmkd.report.run_folder import report_run

    report_run(run.out, run.force)


def export(run: Run) -> None:
    """The student as an open_clip folder with a model card."""
    from mmkd.corpus.schema import Corpus
    from mmkd.evaluation.format.results import read_results
    from mmkd.reliability.table import load_reliability
    from mmkd.student.export import CardFacts
    from mmkd.student.export import export as body

    recipe, out = run.recipe, run.out
    facts = CardFacts(
        recipe.export.name,
        recipe.export.note,
        recipe.name,
        load_reliability(out / "calibration"),
        Corpus(out / "corpus"),
        [vars(row) for row in read_results(out / "evaluate") if _on_the_card(row)],
    )
    read = ["distill", "calibration", "corpus", "evaluate"]
    stage = run.stage("export", "export", {**run.plain(recipe.export), "recipe": recipe.name}, read)
    complete(stage, lambda folder: body(out / "distill", facts, folder, stage.folder), run.force)


def _on_the_card(row: "Result") -> bool:
    """The model card has one number for each data set and task, of all its samples."""
    from mmkd.evaluation.format.results import ALL, BEST_TEACHER, STUDENT
    from mmkd.evaluation.tasks.table import TASKS

    return row.model in (STUDENT, BEST_TEACHER) and row.subset == ALL and row.metric == TASKS[row.task].primary


STAGES: dict[str, Callable[[Run], None]] = {
    "world": world,
    "specialists": specialists,
    "curate": curate,
    "extract": extract,
    "evidence": evidence,
    "calibrate": calibrate,
    "pretrain": pretrain,
    "distill": distill,
    "evaluate": evaluate,
    "report": report,
    "export": export,
}
