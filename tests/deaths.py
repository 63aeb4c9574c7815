"""A life is one process; it ends well or by kill -9 at a chosen place. Lives are forked from one that has imported all.

As a script: `deaths.py JOB.json` makes one stage again and again and prints how each life ended.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from glob import glob
from itertools import count
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


def die_after_record(given: tuple[int, float]) -> None:
    """Be killed so many seconds after the record of that number, from 1, that this life writes of its training."""
    from mmkd.training.records.metrics_log import MetricsLog

    (number, delay_s), write, numbers = given, MetricsLog.write, count(1)

    def dying(self: MetricsLog, *given: Any) -> None:
        write(self, *given)
        if next(numbers) == number:
            threading.Thread(target=_die_in, args=(delay_s,), daemon=True).start()

    MetricsLog.write = dying  # type: ignore[method-assign, assignment]


def die_after_stages(given: tuple[str, int, float]) -> None:
    """Be killed so many seconds after that number of folders is finished in the run; in whichever life they were."""
    folder, number, delay_s = given

    def watch() -> None:
        # glob overlooks folders that go while it reads, which Path.glob does not
        while sum(len(glob(f"{folder}/{depth}/manifest.json")) for depth in ("*", "*/*")) < number:
            time.sleep(0.02)
        _die_in(delay_s)

    threading.Thread(target=watch, daemon=True).start()


def _die_in(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


Deaths = Sequence[tuple[str, Any]]  # a name in DEATHS and what it is called with
DEATHS: dict[str, Callable[[Any], None]] = {
    "draft": die_at_draft_of,
    "validation": die_in_validation,
    "record": die_after_record,
    "stages": die_after_stages,
}


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


def run(job: dict[str, Any]) -> None:
    """The command `mmkd run`. It is not run before the lives begin: torch computes no gradients in a process that was
    forked from one in which another thread has."""
    from mmkd import cli

    sys.argv = ["mmkd", "run", job["recipe"], "--out", job["out"]]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise


def import_what_runs_need() -> None:
    import datasets  # noqa: F401
    import open_clip  # noqa: F401
    import transformers  # noqa: F401

    import mmkd.curation.curate
    import mmkd.curation.sources.kinds
    import mmkd.evaluation.publish
    import mmkd.export.export
    import mmkd.features.extract
    import mmkd.pipeline.preflight
    import mmkd.training.train  # noqa: F401


def live_through(job: dict[str, Any], deaths: Deaths, folder: Path) -> tuple[Path, Path]:
    """The folders of an undisturbed work, and of one that was killed each time it was started, but for the last.

    A `run` has no undisturbed one.
    """
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
    body = {"train": train, "evaluate": evaluate, "evidence": evidence, "run": run}[job["stage"]]
    if job["stage"] == "run":
        import_what_runs_need()
    else:
        body({**job, "out": f"{job['out']}/whole"})  # here, so that what it imports is there in every life
    ended = [life(lambda: body({**job, "out": f"{job['out']}/cut"}), death) for death in [*job["deaths"], None]]
    print("ended", json.dumps(ended))
