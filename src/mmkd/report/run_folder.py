"""The report of a run's folder, from what the folder itself says: a whole run, or an evaluation alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmkd.errors import DataError
from mmkd.evaluation.format.results import STUDENT
from mmkd.evaluation.publish import EVALUATE
from mmkd.folders.stage import MANIFEST, Stage, complete, digest_of, read_manifest

if TYPE_CHECKING:
    from mmkd.report.pages import ReportContext

REPORT = "report"
PAGE = "index.html"
CALIBRATION = "reliability"
TRAINED = {"stage1": "pretrain", STUDENT: "distill"}
CURVES = "metrics.jsonl"


def report_run(out: Path, force: bool = False) -> Path:
    """Leave a finished `out/report` and return its page. Raises DataError when there is no finished evaluation."""
    stage = report_stage(out, lambda name: digest_of(out / name))

    def body(folder: Path) -> Mapping[str, int]:
        from mmkd.report.pages import write_report  # loads much, which a finished report does without

        return write_report(out / EVALUATE, folder, read_context(out))

    complete(stage, body, force)
    return stage.folder / PAGE


def report_stage(out: Path, digest: Callable[[str], str]) -> Stage:
    """The stage that makes `out/report`. digest: of a finished folder of the run."""
    if not (out / EVALUATE / MANIFEST).is_file():
        raise DataError(f"{out}: no finished evaluation found; give the folder of a run, or run 'mmkd evaluate' first")
    recipe = read_manifest(out / EVALUATE)["settings"]["recipe"]
    made_from = [name for name in (EVALUATE, CALIBRATION) if (out / name / MANIFEST).is_file()]
    inputs = {name: digest(name) for name in made_from}
    return Stage("report", out / REPORT, {"recipe": recipe}, inputs, (PAGE, "tables/*"))


def read_context(out: Path) -> "ReportContext":
    from mmkd.report.pages import ReportContext

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
    from mmkd.reliability.table import load_reliability

    found: dict[str, dict[str, float]] = {}
    for cell in load_reliability(folder).cells:
        found.setdefault(cell.group, {})[cell.teacher] = cell.percentile
    return found
