"""A second round: is a student better that has the student of a finished run among its teachers (born again)?

    python bench/rounds.py RECIPE RUN [RUN ...] [--set KEY=VALUE ...]

Each RUN is a finished folder of the recipe, one for each seed. World, teachers, features and stage 1 are linked into
RUN-again, where the student of the run is one more teacher; reliability, stage 2 and evaluation are made anew, without
rivals. Prints zero-shot accuracy of both students by modality, and writes bench/results/rounds_RECIPE.json. The second
student begins from the same stage 1 and makes the same number of steps. Its new teacher was trained on the corpus.
"""

import argparse
from pathlib import Path

import numpy as np
from above_teachers import accuracies

from mmkd.evaluation.format.results import BEST_TEACHER, MEAN, STUDENT, TEACHERS_STACK
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import read_manifest, versions
from mmkd.pipeline.recipe import load_recipe
from mmkd.pipeline.run import Run
from mmkd.pipeline.shipped import recipe_file
from mmkd.pipeline.work import work_all
from mmkd.progress import say
from mmkd.teachers.zoo.settings import LOCAL, TeacherSpec

RESULTS = Path(__file__).parent / "results"
KEPT = ("world", "specialists/*", "corpus", "features/*", "pretrain")
FIRST = "first_round"
SHOWN = (BEST_TEACHER, TEACHERS_STACK, FIRST, STUDENT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    folders = [again(asked.recipe, run.resolve(), asked.changes) for run in asked.runs]
    found = accuracies([folder / "evaluate" for folder in folders])
    modalities = [name for name in found[STUDENT] if name != MEAN]
    say("| zero-shot accuracy, % | " + " | ".join([*modalities, "mean", "each run"]) + " |")
    say("|---|" + "---:|" * (len(modalities) + 1) + "---|")
    for model in SHOWN:
        by = found[model]
        cells = [f"{np.mean(by[name]):.1f}" for name in (*modalities, MEAN)]
        say(f"| {model} | {' | '.join(cells)} | {', '.join(f'{value:.1f}' for value in by[MEAN])} |")
    facts = {"runs": [run.name for run in asked.runs], "accuracy": {name: found[name] for name in SHOWN}}
    write_json(RESULTS / f"rounds_{asked.recipe.stem}.json", {**facts, "versions": versions()})


def again(name: Path, run: Path, changes: list[str]) -> Path:
    """The second round of a run, in a folder beside it."""
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
    work_all(Run(recipe.model_copy(update={"teachers": [student], "rivals": {}}), out))
    return out


if __name__ == "__main__":
    main()
