"""Stage 1: the student learns from the captions alone."""

from pathlib import Path
from shutil import rmtree

from mmkd.corpus.schema import Corpus
from mmkd.device import prepare
from mmkd.open_clip_folder import CONFIG, OpenClipModel, save
from mmkd.settings import Machine
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.training.batches import TOKENS, PairImages, StepBatches, TeacherTargets, tokenise
from mmkd.training.loop import Fit, fit
from mmkd.training.objectives.contrastive import Contrastive
from mmkd.training.settings import PretrainSettings, TrainSettings


def pretrain(
    settings: PretrainSettings,
    student: StudentSettings,
    corpus_folder: Path,
    folder: Path,
    machine: Machine,
    seed: int,
    home: Path | None = None,
) -> dict[str, int]:
    """Body of the stage: train a student from its settings and leave it in `folder` as an open_clip folder."""
    model = build_student(student, seed)
    return train(model, Contrastive(), settings, Corpus(corpus_folder), None, folder, machine, seed, home)


def train(
    model: OpenClipModel,
    objective: object,
    settings: TrainSettings,
    corpus: Corpus,
    teachers: TeacherTargets | None,
    folder: Path,
    machine: Machine,
    seed: int,
    home: Path | None,
) -> dict[str, int]:
    """Fit the model to the objective on the split `train`, save it, and clear what only a resume needs.

    The config is the last file that `save` writes: where it is there, an earlier run was killed after training.
    """
    device = prepare(machine)
    rows = corpus.rows("train")
    images = PairImages(corpus, rows, model, machine.decoded_cache_mb)
    captions = tokenise(corpus, rows, model.tokenizer, folder)
    batches = StepBatches(rows, images, captions, teachers, settings.batch_size, seed)
    run = Fit(model, objective, batches, settings, machine, device, folder, seed)
    if not (folder / CONFIG).is_file():
        fit(run)
        save(model, folder, home)
    rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / TOKENS).unlink(missing_ok=True)
    return {"steps": run.total_steps, "pairs": len(rows)}
