"""A second round: is a student better that has the student of a finished run among its teachers (born again)?

    python bench/rounds.py RECIPE RUN [RUN ...] [--set KEY=VALUE ...]

Each RUN is a finished folder of the recipe, one for each seed. World, teachers, features and stage 1 are linked into
RUN-again, where the student of the run is one more teacher; reliability and stage 2 are made anew. Prints zero-shot
accuracy of both students by data set, and writes bench/results/rounds_RECIPE.json. The second student begins from the
same stage 1 and makes the same number of steps. Its new teacher was trained on the corpus.
"""

import argparse
from pathlib import Path

import numpy as np

from mmkd.ablate.schedule import counted_sets, measured, zero_shot_sets
from mmkd.evaluation.data_sets.opened import DecodedImages
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import read_manifest, versions
from mmkd.pipeline.recipe import load_recipe
from mmkd.pipeline.run import Run
from mmkd.pipeline.shipped import recipe_file
from mmkd.pipeline.table import needed_for
from mmkd.progress import say
from mmkd.teachers.zoo.settings import LOCAL, TeacherSpec

RESULTS = Path(__file__).parent / "results"
KEPT = ("world", "specialists/*", "corpus", "features/*", "pretrain")
MADE_ANEW = ("extract", "reliability", "distill")
FIRST, SECOND = "first_round", "second_round"
MEAN = "mean"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    runs = [again(asked.recipe, run.resolve(), asked.changes) for run in asked.runs]
    found = {name: [accuracies(run, name) for run in runs] for name in (FIRST, SECOND)}
    names = list(found[FIRST][0])
    say("| zero-shot accuracy, % | " + " | ".join(names) + " | each run |")
    say("|---|" + "---:|" * len(names) + "---|")
    for round_, of_runs in found.items():
        cells = [f"{np.mean([one[name] for one in of_runs]):.1f}" for name in names]
        say(f"| {round_} | {' | '.join(cells)} | {', '.join(f'{one[MEAN]:.1f}' for one in of_runs)} |")
    facts = {"runs": [run.name for run in asked.runs], "accuracy": found}
    write_json(RESULTS / f"rounds_{asked.recipe.stem}.json", {**facts, "versions": versions()})


def again(name: Path, run: Path, changes: list[str]) -> Run:
    """The second round of a run, up to its student, in a folder beside it."""
    out = run.with_name(f"{run.name}-again")
    for kept in KEPT:
        for folder in run.glob(kept):
            link = out / folder.relative_to(run)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(folder)
    seed = read_manifest(run / "distill")["settings"]["seed"]
    recipe = load_recipe(recipe_file(name), out, [f"seed={seed}", *changes])
    student = TeacherSpec(name=FIRST, licence="Apache-2.0", model=f"{LOCAL}{run / 'distill'}")
    second = Run(recipe.model_copy(update={"teachers": [*recipe.teachers, student], "rivals": {}}), out)
    for stage in needed_for(second, "distill"):
        if stage.name in MADE_ANEW:
            stage.work(second)
    return second


def accuracies(run: Run, name: str) -> dict[str, float]:
    """Data set (`MEAN`: all) -> zero-shot accuracy of a round's student in %."""
    settings = run.recipe.evaluate
    folder = run.out.with_name(run.out.name.removesuffix("-again")) if name == FIRST else run.out
    spec = TeacherSpec(name=name, model=f"{LOCAL}{folder / 'distill'}")
    data_sets = zero_shot_sets(settings)
    rows = measured(run, spec, data_sets, DecodedImages(run.recipe.machine.decoded_cache_mb))
    found = {row["dataset"]: 100 * row["value"] for row in rows}
    counting = counted_sets(data_sets, settings.least_groups)
    return {**found, MEAN: float(np.mean([found[name] for name in counting]))}


if __name__ == "__main__":
    main()
