"""The body of each stage: what it reads, what it writes, and under which name. The table of them is in `table`.

Everything heavy is imported where a folder is made, so that finding a stage finished costs little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd.distributed import World
from mmkd.folders.stage import Stage, content_digest, read_manifest, status

if TYPE_CHECKING:
    from mmkd.evaluation.format.results import Result
    from mmkd.evaluation.publish import Evaluation
    from mmkd.pipeline.run import Run
    from mmkd.pipeline.table import StageSpec

Settings = Mapping[str, Any]  # as a manifest keeps them
Counts = Mapping[str, int]
MODEL_FILES = ("open_clip_model.safetensors", "open_clip_config.json")


def world_settings(run: "Run") -> Settings:
    phantom: Any = run.recipe.phantom
    return {**run.plain(phantom), "seed": run.recipe.seed}


def world(run: "Run", stage: Stage) -> Counts:
    """The synthetic world."""
    from mmkd.phantom.write import write_world

    phantom: Any = run.recipe.phantom
    return write_world(phantom, stage.partial, run.recipe.machine, run.recipe.seed)


def curate(spec: "StageSpec", run: "Run", world: World) -> None:
    """Sources -> corpus; processes share the parts."""
    curate_into("corpus", run, run.recipe.curate, world)


def curate_into(name: str, run: "Run", settings: Any, world: World) -> None:
    """A corpus into this folder of the run."""
    from mmkd.curation.curate import corpus_stage
    from mmkd.curation.curate import curate as body
    from mmkd.evaluation.leakage.decontamination_images import DecontaminationImages

    recipe = run.recipe
    evaluation = DecontaminationImages(settings, recipe.evaluate.variables, recipe.machine.loaders)

    def made_from() -> Stage:
        stage = corpus_stage(run.out / name, settings, run.plain(settings), recipe.seed, evaluation.fingerprints())
        return run.pooled(replace(stage, inputs=_as_finished(stage), kept=run.kept), settings)

    def make(stage: Stage) -> Counts:
        from mmkd.report.curation import write_ledger

        counts = body(settings, stage.partial, recipe.machine, recipe.seed, evaluation.read, world, run.executor)
        if world.first:
            write_ledger(stage.partial, name)
        return counts

    run.finish(name, made_from, make, world)


def _as_finished(stage: Stage) -> Mapping[str, str]:
    """The inputs, the same ones under the names that a finished corpus has: sources without a name may be called after
    a folder that is called otherwise where the project was moved."""
    if status(stage.folder) != "complete":
        return stage.inputs
    found = read_manifest(stage.folder).get("inputs", {})
    before = {digest: name for name, digest in found.items() if name not in stage.inputs}
    return {name if name in found else before.get(digest, name): digest for name, digest in stage.inputs.items()}


def extract(spec: "StageSpec", run: "Run", world: World) -> None:
    """Corpus x teachers -> features."""
    extract_teachers(run, [], world)


def extract_teachers(run: "Run", names: Sequence[str], world: World) -> None:
    """The features of the named teachers, of all without names; processes share the shards."""
    from mmkd.features.extract import extract as body
    from mmkd.features.extract import feature_stage

    settings, features, specs = run.recipe.extract, run.out / "features", run.named_teachers(names)
    if run.standings is None:
        body(
            specs, settings, run.out / "corpus", features, run.recipe.machine, run.force, world, run.kept, run.executor
        )
    for spec in specs:
        made_from = partial(feature_stage, spec, settings, folder=features, kept=run.kept)
        run.is_looked_at(f"features/{spec.name}", lambda made_from=made_from: made_from(run.digest("corpus")))  # type: ignore[misc]


def evidence_settings(run: "Run") -> Settings:
    from mmkd.curation.shard_cache import tables

    evidence: Any = run.recipe.evidence
    return {**run.plain(evidence), "names": run.recipe.curate.modality.names, "tables": tables()}


def evidence(run: "Run", stage: Stage) -> Counts:
    """The teachers' votes on each picture's modality."""
    from mmkd.features.evidence.evidence import evidence as body
    from mmkd.report.evidence import write_evidence_page

    recipe, out, folder = run.recipe, run.out, stage.partial
    settings: Any = recipe.evidence
    is_fine = recipe.curate.modality.names == "fine"
    counts = body(settings, out / "corpus", out / "features", run.names["teacher"], folder, recipe.machine, is_fine)
    write_evidence_page(folder, out / "corpus")
    return counts


def reliability_settings(run: "Run") -> Settings:
    """Without the choice of modalities: the input `evidence` stands for it."""
    plain = {name: value for name, value in run.recipe.reliability.measured_with.items() if name != "modality"}
    return {**plain, "seed": run.recipe.seed}


def reliability(run: "Run", stage: Stage) -> Counts:
    """How reliable each teacher is on each modality, or each cluster of pairs."""
    from mmkd.reliability.stage import measure_reliability as body

    settings, out = run.recipe.reliability, run.out
    evidence = out / "evidence" if settings.needs_evidence else None
    names = run.names["teacher"]
    return body(settings, out / "corpus", out / "features", names, stage.partial, run.recipe.seed, evidence)


def evaluate(spec: "StageSpec", run: "Run", world: World) -> None:
    """Teachers and students on every data set."""
    from mmkd.evaluation.publish import EVALUATE, evaluation_stage, publish_evaluation

    if not run.is_looked_at(EVALUATE, lambda: evaluation_stage(_evaluation(run), run.out)[0]):
        publish_evaluation(_evaluation(run), run.out, run.force)


def _evaluation(run: "Run") -> "Evaluation":
    from mmkd.evaluation.publish import Evaluation
    from mmkd.teachers.zoo.settings import LOCAL, REFERENCE, ZOO, TeacherSpec

    recipe, out = run.recipe, run.out
    runnable = [teacher for teacher in run.teachers if teacher.library != REFERENCE]
    students = [TeacherSpec(name=name, model=f"{LOCAL}{folder}") for name, folder in run.students.items()]
    trained = {one.name: out / "specialists" / one.name for one in run.specialists} | run.students
    digests = {"corpus": run.digest("corpus")}
    digests |= {name: run.digest(folder.relative_to(out).as_posix()) for name, folder in trained.items()}
    digests |= {
        t.name: content_digest(Path(t.model.removeprefix(LOCAL)), MODEL_FILES, remember=True)
        for t in runnable
        if t.model.startswith(LOCAL) and t.name not in trained
    }
    digests |= {t.name: run.digest(f"features/{t.name}") for t in runnable if t.library == ZOO}
    digests |= {name: run.digest(name) for name in run.names["reliability"]}
    return Evaluation(
        name=recipe.name,
        settings=recipe.evaluate,
        models=[*runnable, *students],
        licences={teacher.name: teacher.licence for teacher in run.teachers},
        machine=recipe.machine,
        seed=recipe.seed,
        corpus=out / "corpus",
        digests=digests,
        kept=run.kept,
        reliability=out / "reliability",
        executor=run.executor,
    )


def report(spec: "StageSpec", run: "Run", world: World) -> None:
    """Results -> one HTML page."""
    from mmkd.report.run_folder import REPORT, report_run, report_stage

    if not run.is_looked_at(REPORT, lambda: report_stage(run.out, run.digest)):
        report_run(run.out, run.force)


def export_settings(run: "Run") -> Settings:
    return {**run.plain(run.recipe.export), "recipe": run.recipe.name}


def export(run: "Run", stage: Stage) -> Counts:
    """The student in the formats of other tools, with a model card."""
    from mmkd.corpus.schema import Corpus
    from mmkd.evaluation.format.results import read_results
    from mmkd.export.card import CardFacts, model_card
    from mmkd.export.eight_bits import results
    from mmkd.export.export import export as body
    from mmkd.export.sample import of_corpus
    from mmkd.reliability.table import load_reliability

    recipe, out, corpus = run.recipe, run.out, Corpus(run.out / "corpus")
    facts = CardFacts(
        recipe.export.name,
        recipe.export.note,
        recipe.name,
        load_reliability(out / "reliability"),
        corpus,
        [vars(row) for row in read_results(out / "evaluate") if _on_the_card(row)],
        recipe.distill.of_untrusted,
    )
    sample = of_corpus(corpus, recipe.export.pictures)
    return body(
        out / "distill",
        stage.partial,
        stage.folder,
        recipe.export,
        sample,
        partial(model_card, facts),
        partial(results, recipe.evaluate, recipe.machine, recipe.seed),
    )


def _on_the_card(row: "Result") -> bool:
    """The model card has one number for each data set and task, of all its samples."""
    from mmkd.evaluation.format.results import ALL, BEST_TEACHER, STUDENT
    from mmkd.evaluation.tasks.table import TASKS

    return row.model in (STUDENT, BEST_TEACHER) and row.subset == ALL and row.metric == TASKS[row.task].primary
