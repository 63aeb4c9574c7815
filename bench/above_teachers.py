"""Is the student above every teacher, in every modality? A recipe run for several seeds, and one table of all of them.

    python bench/above_teachers.py overlap [--seeds 0 1 2] [--jobs 2] [--out runs/above] [--set KEY=VALUE ...]

Each seed is a run of the recipe in a folder of its own; finished stages are reused, so a call that was cut off goes on.
Prints zero-shot accuracy of all models by modality, and the student's differences: paired, by groups, with the
bootstrap's p of each seed and a t interval over the seeds. Writes bench/results/above_RECIPE.json.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import t as student_t

from mmkd.evaluation.format.predictions import predictions_of
from mmkd.evaluation.format.results import (
    ALL,
    BEST_TEACHER,
    MEAN,
    NULLS,
    STUDENT,
    TEACHERS_STACK,
    Comparison,
    Result,
    read_comparisons,
    read_results,
)
from mmkd.evaluation.summary.counted import counted
from mmkd.evaluation.summary.means import means
from mmkd.evaluation.summary.scored import Plan, scored_of
from mmkd.evaluation.summary.scores import Resampling
from mmkd.evaluation.tasks.table import TASKS
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import read_log, read_manifest, versions
from mmkd.progress import say
from mmkd.statistics.bootstrap import percentile_interval, two_sided_p

ROOT = Path(__file__).parents[1]
TASK, METRIC = "zero_shot", "accuracy"
CONFIDENCE = 0.95
LEVEL = 0.01  # of the paired test on the mean over the modalities
POINTS = 100.0


@dataclass(frozen=True)
class Difference:
    """The student minus a rival in points, for one modality or the mean of all: of each seed, and of all.

    low, high: 95 % t interval over the seeds; None with one seed. p: of each seed, two-sided, by the bootstrap over
    groups. below: seeds in which the whole interval over groups is below 0.
    """

    rival: str
    modality: str
    each: list[float]
    mean: float
    low: float | None
    high: float | None
    p: list[float]
    below: int


def run(recipe: str, seed: int, out: Path, changes: Sequence[str]) -> None:
    """Run the recipe with a seed; what it prints goes to a log beside the folder."""
    sets = [word for change in (f"seed={seed}", *changes) for word in ("--set", change)]
    with out.with_suffix(".log").open("w") as log:
        command = [sys.executable, "-m", "mmkd", "run", recipe, "--out", str(out), *sets]
        subprocess.run(command, check=True, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def asked(row: Result | Comparison) -> bool:
    """A data set that no mean counts stands for no modality."""
    return row.is_counted and (row.task, row.metric, row.subset) == (TASK, METRIC, ALL)


def by_modality(rows: Sequence[Result]) -> dict[str, float]:
    """Modality -> value: the mean over its data sets, or its only one; `MEAN` -> that over all data sets."""
    found = {row.modality: row.value for row in rows}
    return found | {row.modality: row.value for row in rows if row.dataset == MEAN}


def left_out(folders: Sequence[Path]) -> list[str]:
    """Data sets with too few groups for a mean (`evaluate.least_groups`), which no figure below is made of."""
    rows = [row for folder in folders for row in read_results(folder) if row.task == TASK and not row.is_counted]
    return list(dict.fromkeys(row.dataset for row in rows))


def accuracies(folders: Sequence[Path]) -> dict[str, dict[str, list[float]]]:
    """Model -> modality (`MEAN`: all) -> accuracy in % of each seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for folder in folders:
        rows = [row for row in read_results(folder) if asked(row) and row.model not in NULLS]
        for model in dict.fromkeys(row.model for row in rows):
            for modality, value in by_modality([row for row in rows if row.model == model]).items():
                found.setdefault(model, {}).setdefault(modality, []).append(POINTS * value)
    return found


def differences(folders: Sequence[Path]) -> list[Difference]:
    """Of the student to every rival, by modality and over all."""
    rows: dict[tuple[str, str], list[Comparison]] = {}
    for folder in folders:
        of_seed: dict[tuple[str, str], Comparison] = {}
        for row in read_comparisons(folder):
            key = (row.rival, row.modality)
            is_asked = asked(row) and row.model == STUDENT and row.rival not in NULLS
            if is_asked and (key not in of_seed or row.dataset == MEAN):
                of_seed[key] = row
        for key, row in of_seed.items():
            rows.setdefault(key, []).append(row)
    return [_difference(*key, found) for key, found in rows.items()]


def _difference(rival: str, modality: str, rows: Sequence[Comparison]) -> Difference:
    each = np.array([POINTS * row.difference for row in rows])
    low = high = None
    if len(each) > 1:
        half = float(student_t.ppf(0.975, len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each)))
        low, high = float(each.mean()) - half, float(each.mean()) + half
    below = sum(row.high is not None and row.high < 0 for row in rows)
    return Difference(rival, modality, each.tolist(), float(each.mean()), low, high, [row.p for row in rows], below)


def of_all_seeds(folders: Sequence[Path]) -> list[str]:
    """A Markdown table of the student minus each rival, mean of the seeds and of the data sets that count, with the
    interval and p of one paired test: the bootstrap draws the same groups for all seeds. Nothing where seeds have test
    samples of their own, as in a world that follows the seed."""
    ids, replicate_SB = set[tuple[tuple[str, ...], ...]](), dict[str, list[np.ndarray]]()
    for folder in folders:
        settings = read_manifest(folder)["settings"]
        resampling = Resampling(settings["bootstrap"], CONFIDENCE, 0, least_groups=settings.get("least_groups", 1))
        plan = Plan([STUDENT], list(settings["licences"]), resampling, {}, lambda _: (), "")
        predictions = list(predictions_of(folder, TASK))
        ids.add(tuple(tuple(map(str, next(iter(of_set.values())).id)) for of_set in predictions))
        scores = counted([scored_of(TASKS[TASK], of_set, plan).whole for of_set in predictions])
        (of_all,) = (one for one in means(scores, TASKS[TASK]) if one.facts.modality == MEAN)
        for model, estimates in of_all.estimates.items():
            replicate_SB.setdefault(model, []).append(POINTS * estimates[METRIC].replicate_B)
    if len(ids) > 1:
        return []
    lines = ["", "| student minus, all seeds | 95 % over groups | p |", "|---|---|---:|"]
    for rival, rival_SB in replicate_SB.items():
        if rival not in (STUDENT, *NULLS) and len(rival_SB) == len(folders):
            difference_B = np.mean(np.subtract(replicate_SB[STUDENT], rival_SB), axis=0)
            interval, p = percentile_interval(difference_B, CONFIDENCE), two_sided_p(difference_B)
            lines.append(f"| {rival} | [{interval.low:.1f}, {interval.high:.1f}] | {p:.2g} |")
    return lines


def printed(found: dict[str, dict[str, list[float]]], compared: Sequence[Difference]) -> list[str]:
    """Two Markdown tables."""
    modalities = [name for name in found[STUDENT] if name != MEAN]
    lines = [
        "| zero-shot accuracy, % | " + " | ".join(modalities) + " | mean | each seed | SD |",
        "|---|" + "---:|" * (len(modalities) + 1) + "---|---:|",
    ]
    for model, by in sorted(found.items(), key=lambda item: np.mean(item[1][MEAN])):
        cells = [f"{np.mean(by[name]):.1f}" for name in (*modalities, MEAN)]
        deviation = f"{np.std(by[MEAN], ddof=1):.1f}" if len(by[MEAN]) > 1 else "–"
        seeds = ", ".join(f"{value:.1f}" for value in by[MEAN])
        lines.append(f"| {model} | " + " | ".join(cells) + f" | {seeds} | {deviation} |")
    lines += [
        "",
        "| student minus | mean | 95 % t over seeds | each seed | p of each seed | modalities above, level, below |",
        "|---|---:|---|---|---|---|",
    ]
    for one in (one for one in compared if one.modality == MEAN):
        of = [other for other in compared if other.rival == one.rival and other.modality != MEAN]
        signs = [np.sign(round(value, 6)) for other in of for value in other.each]
        interval = "–" if one.low is None else f"[{one.low:.1f}, {one.high:.1f}]"
        seeds, p = ", ".join(f"{v:+.1f}" for v in one.each), ", ".join(f"{v:.2g}" for v in one.p)
        counts = ", ".join(str(signs.count(sign)) for sign in (1, 0, -1))
        lines.append(f"| {one.rival} | {one.mean:+.1f} | {interval} | {seeds} | {p} | {counts} |")
    return lines


def checks(
    found: dict[str, dict[str, list[float]]], compared: Sequence[Difference], rivals: Sequence[str]
) -> dict[str, bool]:
    """What the student has to reach -> whether it does."""
    best = {one.modality: one for one in compared if one.rival == BEST_TEACHER}
    error = {name: POINTS - float(np.mean(found[name][MEAN])) for name in (STUDENT, *rivals)}
    met = {
        "above the best teacher in every modality, mean of the seeds": all(
            one.mean > 0 for name, one in best.items() if name != MEAN
        ),
        f"above the best teacher on the mean over modalities, p < {LEVEL} in every seed": best[MEAN].mean > 0
        and max(best[MEAN].p) < LEVEL,
        "no modality significantly below the best teacher, in any seed": not any(one.below for one in best.values()),
        **{f"error at most half of that of {name}": error[STUDENT] <= error[name] / 2 for name in rivals},
    }
    if TEACHERS_STACK in found:
        stack = next(one for one in compared if (one.rival, one.modality) == (TEACHERS_STACK, MEAN))
        met["at or above the stack of the teachers, mean of the seeds"] = stack.mean >= 0
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "above")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    name = Path(arguments.recipe).stem
    folders = [(arguments.out / name / f"seed{seed}").resolve() for seed in arguments.seeds]
    folders[0].parent.mkdir(parents=True, exist_ok=True)
    # several runs are the parallelism; a single one has the workers that its recipe names
    changes = [*(["executor.workers=1"] if arguments.jobs > 1 else []), *arguments.changes]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = [
            pool.submit(run, arguments.recipe, seed, out, changes)
            for seed, out in zip(arguments.seeds, folders, strict=True)
        ]
        for job in jobs:
            job.result()
    evaluations = [folder / "evaluate" for folder in folders]
    found, compared = accuracies(evaluations), differences(evaluations)
    rivals = [path.name for path in sorted((folders[0] / "rivals").glob("*")) if (path / "manifest.json").is_file()]
    met = checks(found, compared, rivals)
    if few := left_out(evaluations):
        say(f"in no figure, for their few groups: {', '.join(few)}")
    say(
        "\n".join(
            [
                *printed(found, compared),
                *of_all_seeds(evaluations),
                "",
                *(f"{'yes' if ok else 'NO '}  {what}" for what, ok in met.items()),
            ]
        )
    )
    seconds = [
        sum(float(read_log(path.parent)["wall_s"]) for path in folder.rglob("manifest.json")) for folder in folders
    ]
    say(f"seconds of the stages: {', '.join(f'{value:,.0f}' for value in seconds)}")
    result = {"recipe": name, "seeds": arguments.seeds, "changes": arguments.changes, "accuracy": found, "met": met}
    more = {"left_out": few, "differences": [asdict(one) for one in compared], "versions": versions()}
    write_json(ROOT / f"bench/results/above_{name}.json", {**result, **more})


if __name__ == "__main__":
    main()
