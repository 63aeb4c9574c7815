"""A life is one process; it ends well or by kill -9 at a chosen place. Lives are forked from one that has imported all.

As a script: `deaths.py JOB.json` makes one stage again and again and prints how each life ended.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any


def die_at_draft_of(pattern: str) -> None:
    """Be killed when half of a file of such a name is on the disk, before it has its name."""
    replace = Path.replace

    def dying(draft: Path, target: Path) -> Path:
        if fnmatch(Path(target).name, pattern):
            os.truncate(draft, draft.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(draft, target)

    Path.replace = dying  # type: ignore[method-assign, assignment]


def die_in_validation(number: int) -> None:
    """Be killed once the pairs of the validation of that number, from 1, are embedded."""
    from mmkd.training.validate import Validation

    embedded, calls = Validation._embedded, iter(range(1, number + 1))

    def dying(self: Validation, *given: Any) -> Any:
        found = embedded(self, *given)
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    Validation._embedded = dying  # type: ignore[method-assign, assignment]


Deaths = Sequence[tuple[str, Any]]  # a name in DEATHS and what it is called with
DEATHS: dict[str, Callable[[Any], None]] = {"draft": die_at_draft_of, "validation": die_in_validation}


def life(body: Callable[[], Any], death: tuple[str, Any] | None) -> int:
    """The exit code of a process that calls the body: 0, or minus the signal that killed it."""
    process = os.fork()
    if process == 0:
        try:
            if death:
                DEATHS[death[0]](death[1])
            body()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def train(job: dict[str, Any]) -> None:
    from mmkd.folders.stage import Stage, complete
    from mmkd.student.settings import StudentSettings
    from mmkd.training.loop import Place
    from mmkd.training.settings.train import PretrainSettings
    from mmkd.training.train import pretrain
    from tiny import MACHINE, tiny_config

    settings, student = PretrainSettings(**job["settings"]), StudentSettings(config=tiny_config())
    stage = Stage("student", Path(job["out"]), job["settings"], outputs=("open_clip_*", "skipped.jsonl"))
    complete(stage, lambda folder: pretrain(settings, student, Path(job["corpus"]), Place(folder, MACHINE, 0)))


def evaluate(job: dict[str, Any]) -> None:
    from colour_world import TEACHERS, ColourModel

    from mmkd.evaluation.evaluate import evaluate as made
    from mmkd.evaluation.evaluate import open_data_sets
    from mmkd.evaluation.models import encoders
    from mmkd.evaluation.publish import OUTPUTS
    from mmkd.evaluation.tasks.settings import EvaluateSettings
    from mmkd.folders.stage import Stage, complete
    from mmkd.teachers.zoo.settings import TeacherSpec
    from tiny import MACHINE

    encoders.load_teacher = ColourModel  # type: ignore[assignment]
    settings = EvaluateSettings(**job["settings"])
    models = [TeacherSpec(**model) for model in job["models"]]
    stage = Stage("evaluation", Path(job["out"]), job["settings"], outputs=OUTPUTS, keyed=True)
    complete(stage, lambda folder: made(settings, open_data_sets(settings), models, TEACHERS, folder, MACHINE, seed=0))


def evidence(job: dict[str, Any]) -> None:
    from mmkd.features.evidence.evidence import evidence as made
    from mmkd.features.evidence.settings import EvidenceSettings
    from mmkd.folders.stage import Stage, complete
    from mmkd.report.evidence import write_evidence_page
    from tiny import MACHINE

    settings, world = EvidenceSettings(**job["settings"]), Path(job["world"])
    stage = Stage("evidence", Path(job["out"]), job["settings"])

    def make(to: Path) -> dict[str, int]:
        counts = made(settings, world / "corpus", world / "features", job["teachers"], to, MACHINE)
        write_evidence_page(to, world / "corpus")
        return counts

    complete(stage, make)


def live_through(job: dict[str, Any], deaths: Deaths, folder: Path) -> tuple[Path, Path]:
    """The folders of an undisturbed run, and of one that was killed each time it was started, but for the last."""
    (folder / "job.json").write_text(json.dumps({**job, "deaths": deaths, "out": str(folder)}, default=str))
    done = subprocess.run([sys.executable, __file__, str(folder / "job.json")], capture_output=True, text=True)
    ended = json.loads(done.stdout.rpartition("ended ")[2])
    assert ended == [*[-signal.SIGKILL] * len(deaths), 0], done.stdout + done.stderr
    return folder / "whole", folder / "cut"


def assert_same(whole: Path, cut: Path) -> None:
    """Both stages have published the same bytes, and no draft with them."""
    digests = [json.loads((folder / "manifest.json").read_text())["digest"] for folder in (whole, cut)]
    assert digests[0] == digests[1]
    assert not list(cut.rglob(".*"))


if __name__ == "__main__":
    tests = Path(__file__).parent
    sys.path[:0] = [str(tests), str(tests / "evaluation")]
    job = json.loads(Path(sys.argv[1]).read_text())
    body = {"train": train, "evaluate": evaluate, "evidence": evidence}[job["stage"]]
    body({**job, "out": f"{job['out']}/whole"})  # here, so that what it imports is there in every life
    ended = [life(lambda: body({**job, "out": f"{job['out']}/cut"}), death) for death in [*job["deaths"], None]]
    print("ended", json.dumps(ended))
