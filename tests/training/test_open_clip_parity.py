"""Stage 1 beside open_clip's own trainer: from the same weights, in the same order, the same losses."""

from dataclasses import replace
from pathlib import Path

from open_clip_trainer import Case

from mmkd.corpus.schema import Corpus
from mmkd.student.settings import StudentSettings
from mmkd.training.settings.train import PretrainSettings
from tiny import MACHINE

STEPS, TOLERANCE = 50, 1e-4


def test_fifty_losses_are_those_of_open_clips_own_trainer(
    tiny_corpus: Path, tiny_student: StudentSettings, tmp_path: Path
) -> None:
    """float32, warm-up and a part of the cosine included. A rate that differs by 1 % is seen."""
    settings = PretrainSettings(epochs=9, batch_size=16, lr=1e-3, warmup_steps=5)
    case = Case(Corpus(tiny_corpus), tiny_student, settings, tmp_path / "ours", MACHINE)
    theirs, ours = case.theirs(), case.ours()
    assert len(ours.losses) == case.steps >= STEPS
    assert max(theirs.losses) - min(theirs.losses) > 0.5, "nothing was learned, so agreement would show nothing"
    assert ours.apart(theirs) < TOLERANCE
    faster = replace(case, settings=settings.model_copy(update={"lr": 1.01e-3}), folder=tmp_path / "faster")
    assert faster.ours().apart(theirs) > TOLERANCE
