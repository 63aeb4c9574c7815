"""The report of a run's folder, from what the folder itself says: a whole run, or an evaluation alone."""

from collections.abc import Mapping
from pathlib import Path

from mmkd.errors import DataError
from mmkd.evaluation.format.results import STUDENT
from mmkd.evaluation.publish import EVALUATE
from mmkd.folders.stage import MANIFEST, Stage, complete, digest_of, read_manifest
from mmkd.reliability.table import load_reliability
from mmkd.report.pages import PAGE, ReportContext, write_report

REPORT = "report"
CALIBRATION = "calibration"
TRAINED = {"stage1": "pretrain", STUDENT: "distill"}
CURVES = "metrics.jsonl"


def report_run(out: Path, force: bool = False) -> Path:
    """Leave a finished `out/report` and return its page. Raises DataError when there is no finished evaluation."""
    context = read_context(out)
    made_from = [name for name in (EVALUATE, CALIBRATION) if (out / name / MANIFEST).is_file()]
    inputs = {name: digest_of(out / name) for name in made_from}
    stage = Stage("report", out / REPORT, {"recipe": context.recipe}, inputs, (PAGE, "tables/*"))
    complete(stage, lambda folder: write_report(out / EVALUATE, folder, context), force)
    return stage.folder / PAGE


def read_context(out: Path) -> ReportContext:
    """What a run's folder says beyond its results."""
    if not (out / EVALUATE / MANIFEST).is_file():
        raise DataError(f"{out}: no finished evaluation found; give the folder of a run, or run 'mmkd evaluate' first")
    settings = read_manifest(out / EVALUATE)["settings"]
    rivals = {folder.name: folder for folder in sorted((out / "rivals").glob("*")) if folder.is_dir()}
    trained = {name: out / folder for name, folder in TRAINED.items()}
    students = {"stage1": trained["stage1"], **rivals, STUDENT: trained[STUDENT]}
    return ReportContext(
        recipe=settings["recipe"],
        seed=settings["seed"],
        licences=settings["licences"],
        reliability=_reliability(out / CALIBRATION),
        curves=[(name, folder / CURVES) for name, folder in students.items() if (folder / CURVES).is_file()],
    )


def _reliability(folder: Path) -> Mapping[str, Mapping[str, float]]:
    if not (folder / MANIFEST).is_file():
        return {}
    found: dict[str, dict[str, float]] = {}
    for cell in load_reliability(folder).cells:
        found.setdefault(cell.group, {})[cell.teacher] = cell.percentile
    return found
