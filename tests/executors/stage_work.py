"""Stages by an executor, and all that they leave: the same whoever hands out the work."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.ablate.schedule import jobs_of, run_all
from mmkd.ablate.settings import load_ablation
from mmkd.ablate.summary import RESULTS, SECONDS, read_results
from mmkd.evaluation.evaluate import evaluate, open_data_sets
from mmkd.evaluation.publish import OUTPUTS
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.executors.executor import Executor
from mmkd.features.extract import extract
from mmkd.folders.stage import content_digest, digest_of
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec
from tiny import MACHINE


@dataclass(frozen=True)
class Inputs:
    """What the stages read. corpus: of features. teachers: two. cards: of two data sets. ablation: its file."""

    corpus: Path
    teachers: list[TeacherSpec]
    cards: list[Path]
    ablation: Path


def extracted(executor: Executor, given: Inputs, folder: Path) -> dict[str, bytes]:
    """Name of each file of features -> its bytes; manifests tell times."""
    settings = ExtractSettings(batch_size=10, shard_rows=30)
    extract(given.teachers, settings, given.corpus, folder / "features", MACHINE, executor=executor)
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.arrow")}
    assert len(files) >= 8
    return {name: path.read_bytes() for name, path in files.items()}


def evaluated(executor: Executor, given: Inputs, folder: Path) -> dict[str, Any]:
    """The digest of predictions and tables, and the counts, of both models on both data sets."""
    settings = EvaluateSettings(cards=given.cards, bootstrap=50, batch_size=7, nulls=[])
    sets, names = open_data_sets(settings), [one.name for one in given.teachers]
    counts = evaluate(settings, sets, given.teachers, names, folder / "evaluate", MACHINE, 0, executor=executor)
    assert (counts["models"], counts["data_sets"]) == (2, 2)
    return {**counts, "digest": content_digest(folder / "evaluate", OUTPUTS)}


def ablated(executor: Executor, given: Inputs, folder: Path) -> dict[str, Any]:
    """The digests of what two variants have made, those of what they share among them, and their rows but for times."""
    variants = ["default", "contrastive"]
    jobs = jobs_of(load_ablation(given.ablation), folder / "out", folder / "pool", variants, [0], jobs=2)
    run_all(jobs, folder / "out", executor)
    made = ("world", "specialists/one", "corpus", "features/one", "reliability", "pretrain", "distill")
    found: dict[str, Any] = {f"{job.variant} {name}": digest_of(job.folder / name) for job in jobs for name in made}
    found["rows"] = [row for row in read_results(folder / "out" / RESULTS) if row.metric != SECONDS]
    assert {row.variant for row in found["rows"]} == set(variants)
    return found


Check = Callable[[str, Executor], None]
"""Asserts that a stage of that name leaves by this executor what one process leaves."""
STAGES: dict[str, Callable[[Executor, Inputs, Path], Any]] = {
    "extraction": extracted,
    "evaluation": evaluated,
    "ablation": ablated,
}
