"""A step on the meta device, which knows shapes and devices and no values, stands in for a GPU that is not at hand.

Reading a value (`.item()`, `nonzero`, a mask as an index) and mixing it with a tensor of the CPU raise there, so that a
step that passes neither makes the host wait nor meets a tensor of another device. Letters: B pairs.
"""

from typing import Any

import numpy as np
import pytest
import torch

from mmkd.distributed import ALONE
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.encoders.patches import patches_of_tower
from mmkd.training.batches import PairBatch
from mmkd.training.data.view import TeacherBatch
from mmkd.training.engine import clipped_norm, make_engine
from mmkd.training.experimental.average import MovingAverage
from mmkd.training.experimental.targets import fit_target
from mmkd.training.objectives.objective import TeacherShape
from mmkd.training.records.checkpoint import Trained
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.tables import OBJECTIVES, TERMS, WEIGHTINGS
from mmkd.training.step import Stepper
from objective_views import mapped
from tiny import MACHINE, tiny_config

META = torch.device("meta")
PAIRS, DIM, DIMS = 16, 16, (8, 24)
CASES: dict[str, dict[str, Any]] = {name: {"objective": name} for name in OBJECTIVES} | {
    "all terms": {"contrastive": 0.3, "terms": {name: 0.5 for name in TERMS}},
    "without the captions": {"caption_evidence": False},
    "self-teacher": {"ema": 0.9, "self_teacher": 0.3, "matryoshka": [8]},
    "sigmoid": {"objective": "contrastive", "pairwise": "sigmoid"},
    "phi-s": {"objective": "heads", "targets": "phi-s"},
    **{weighting: {"objective": "affinity", "weighting": weighting} for weighting in WEIGHTINGS},
}


def meta_batch(settings: DistillSettings) -> PairBatch:
    image, text = ([torch.empty(PAIRS, dim, device=META) for dim in DIMS] for _ in ("image", "text"))
    weight_BT = torch.empty(PAIRS, len(DIMS), device=META)
    code_B = torch.arange(PAIRS, device=META)
    given_B2 = torch.empty(PAIRS, 2, device=META) if settings.caption_evidence else None
    relation_BTPP = torch.empty(PAIRS, len(DIMS), 4, 4, device=META) if settings.follows_patches else None
    return PairBatch(
        row_B=np.arange(PAIRS),
        image_BCHW=torch.empty(PAIRS, 3, 32, 32, dtype=torch.uint8, device=META),
        token_BL=torch.empty(PAIRS, 16, dtype=torch.long, device=META),
        length_B=np.arange(1, PAIRS + 1),
        caption_B=code_B,
        image_code_B=code_B,
        caption_weight_B=torch.empty(PAIRS, device=META),
        teachers=TeacherBatch(image, text, weight_BT, weight_BT > 0, weight_BT, code_B, given_B2, relation_BTPP),
    )


def teacher_shapes(settings: DistillSettings) -> list[TeacherShape]:
    rng = np.random.default_rng(0)
    kind = "none" if settings.is_reference else settings.targets
    found = []
    for dim in DIMS:
        vectors = rng.normal(size=(PAIRS, dim)).astype(np.float32)
        target = fit_target(kind, vectors, vectors, rng)
        if settings.is_reference:  # maps into the student's dimension
            target = mapped(target, torch.randn(target.width, DIM), torch.zeros(DIM))
        found.append(TeacherShape(9.0, target))
    return found


def meta_stepper(settings: DistillSettings, micro_batch: int) -> Stepper:
    model = build_student(StudentSettings(config=tiny_config(DIM)), 0)
    machine = MACHINE.model_copy(update={"micro_batch": micro_batch})
    network = model.network.to_empty(device=META)
    patches = patches_of_tower(network.get_submodule("visual"), 2) if settings.follows_patches else None
    engine = make_engine(network, 2, False, machine, META, ALONE, patches)
    objective = (
        OBJECTIVES[settings.objective]
        .load()(settings, DIM, teacher_shapes(settings), torch.Generator().manual_seed(0))
        .to(META)
    )
    modules = torch.nn.ModuleDict({"student": model.network, "objective": objective})
    # the fused AdamW has no kernel for this device; its switch for bad steps is tested with values in test_loop.py
    optimizer = torch.optim.RMSprop([p for p in modules.parameters() if p.requires_grad])
    trained = Trained(modules, optimizer, MovingAverage(model.network, 0.9))
    return Stepper(engine, model, objective, trained, settings, seed=0)


@pytest.mark.parametrize("micro_batch", [0, 5])
@pytest.mark.parametrize("case", CASES)
def test_a_step_reads_no_value_and_stays_on_its_device(case: str, micro_batch: int) -> None:
    follows_patches = "patches" in CASES[case].get("terms", {})  # which cannot be mirrored
    augment = {
        "shift": 0.1,
        "gain": 0.1,
        "flip": not follows_patches,
    }  # no noise: this device has no random numbers of its own
    settings = DistillSettings.model_validate({**CASES[case], "batch_size": PAIRS, "augment": augment})
    stepper = meta_stepper(settings, micro_batch)
    outcome = stepper(meta_batch(settings), 3)
    assert {value.device for value in (*outcome.losses.values(), outcome.total, outcome.norm, outcome.bad)} == {META}
    average = stepper.trained.average
    assert average is not None
    average.update(stepper.model.network, 3, outcome.bad)
    assert {value.device for value in average.parameters.values()} == {META}


def test_the_device_without_values_would_tell() -> None:
    with pytest.raises(RuntimeError, match=r"item\(\)"):
        torch.ones(3, device=META).sum().item()
    with pytest.raises(RuntimeError):
        torch.stack([torch.tensor(1.0), torch.ones((), device=META)])


def test_the_norm_of_gradients_is_that_of_all_together_and_only_long_ones_are_cut() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])  # the third has none
    assert clipped_norm(parameters, 10.0).item() == pytest.approx(5.0)
    assert parameters[0].grad.tolist() == [3.0, 0.0]
    assert clipped_norm(parameters, 1.0).item() == pytest.approx(5.0)
    assert parameters[0].grad.tolist() == pytest.approx([0.6, 0.0])
    assert parameters[1].grad.tolist() == pytest.approx([0.0, 0.8])
