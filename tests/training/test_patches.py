"""The term `patches`: its values by hand, what it weighs, what it refuses, and what a training makes of it.

Letters: K pairs, P patches of a picture, T teachers.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from mmkd.errors import ConfigError, DataError
from mmkd.pipeline.recipe import Recipe
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import save
from mmkd.training.experimental.patches import centred, cosines, patches_term, unlike
from mmkd.training.loop import Place
from mmkd.training.matryoshka import matryoshka_losses
from mmkd.training.records.metrics_log import read_metrics
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.train import Inputs, distill
from objective_views import batch, build, total, view_of, with_patches
from short_runs import assert_trained_alike, same
from tiny import MACHINE, tiny_config
from tolerance import assert_rounding

BESIDE = {"terms": {"patches": 1.0}}


def symmetric(a: float, b: float, c: float) -> torch.Tensor:
    """The cosines of three patches: first and second, first and third, second and third."""
    return torch.tensor([[1.0, a, b], [a, 1.0, c], [b, c, 1.0]])


def test_a_difference_by_hand() -> None:
    """Means .4 and .5; the rest is .4, -.4, 0 and -.1, 0, .1; squares .25, .16, .01."""
    student, teacher = symmetric(0.8, 0.0, 0.4), symmetric(0.4, 0.5, 0.6)
    assert_rounding(centred(student), symmetric(0.4, -0.4, 0.0) - torch.eye(3))
    assert unlike(student, teacher).item() == pytest.approx((0.25 + 0.16 + 0.01) / 3, rel=1e-5)
    assert unlike(student, student).item() == 0.0


def test_a_narrower_cone_is_no_difference() -> None:
    """All cosines higher by the same: another mean, the same relations."""
    student = symmetric(0.5, -0.3, 0.1)
    cone = student + 0.2 * (1 - torch.eye(3))
    assert_rounding(unlike(student, cone), 0.0, size=1.0)


def test_cosines_by_hand() -> None:
    patch_1PE = torch.tensor([[[1.0, 0.0], [0.6, 0.8]]])
    assert_rounding(cosines(patch_1PE), [[[1.0, 0.6], [0.6, 1.0]]])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("stacked", [True, False])
def test_teachers_count_by_slopes_or_weights_and_only_with_patches(stacked: bool) -> None:
    settings = DistillSettings(objective="stacked" if stacked else "affinity", min_weight=0.5, **BESIDE)  # type: ignore[arg-type]
    of = with_patches(batch())
    if not stacked:
        of = replace(of, teachers=replace(of.teachers, slope_BT=None))
    value_K, counted_K = patches_term(view_of(of), settings)
    assert of.patch_KPE is not None
    known = of.teachers
    assert known.relation_BTPP is not None
    for pair in range(len(value_K)):
        found = []
        for t in range(2):  # the last teacher has no patches
            weight = float(known.weight_BT[pair, t]) if known.slope_BT is None else float(known.slope_BT[pair, t])
            if (weight > 0.5 or stacked) and not (pair == 0 and t == 0):
                own_PE = of.patch_KPE[pair].detach()
                own_PP = own_PE @ own_PE.T
                found.append((weight, float(unlike(own_PP, known.relation_BTPP[pair, t]))))
        norm = sum(weight for weight, _ in found)
        assert counted_K[pair].item() == (norm > 0)
        wanted = sum(weight * value for weight, value in found) / norm if norm else 0.0
        assert value_K[pair].item() == pytest.approx(wanted, rel=1e-12)
    assert not stacked or counted_K.all()
    assert stacked or not counted_K.all()  # weights below min_weight


@pytest.mark.usefixtures("float64")
def test_vectors_of_fewer_dimensions_leave_it_as_it_is() -> None:
    of, draws = with_patches(batch()), lambda: torch.Generator().manual_seed(5)
    made = build(DistillSettings(objective="affinity", **BESIDE), of)  # type: ignore[arg-type]
    calls: list[int] = []
    term = made.patches["patches"]  # type: ignore[operator]
    made.patches["patches"] = lambda *given: calls.append(1) or term(*given)  # type: ignore[operator, assignment]
    found = matryoshka_losses(made, view_of(of), (5, 3), draws)
    assert len(calls) == 1
    assert_rounding(found["patches"], made(view_of(of))["patches"])
    assert total(made, view_of(of)).isfinite()


def test_a_batch_without_patches_says_what_to_do() -> None:
    of = batch()
    with pytest.raises(ConfigError, match=r"set \[extract\] patches and run 'mmkd extract' again"):
        patches_term(view_of(of), DistillSettings(**BESIDE))  # type: ignore[arg-type]


def test_what_moves_patches_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"augment\.flip mirrors .* set flip to false"):
        DistillSettings(augment={"flip": True}, **BESIDE)  # type: ignore[arg-type]
    DistillSettings(augment={"flip": True}, terms={"patches": 0.0})  # type: ignore[arg-type]
    moved = DistillSettings(augment={"shift": 0.13}, **BESIDE)  # type: ignore[arg-type]
    assert "set shift to 0.125 or less" in moved.patch_problem(4)
    assert moved.patch_problem(3) == ""
    assert "[extract] patches is 0; set it to the side of a grid" in moved.patch_problem(0)
    assert DistillSettings(augment={"shift": 0.9}).patch_problem(0) == ""  # type: ignore[arg-type]


def test_a_recipe_that_asks_for_patches_extracts_them() -> None:
    recipe: dict[str, Any] = {
        "name": "mine",
        "curate": {"sources": [{"kind": "table", "path": "pairs.csv"}]},
        "teachers": ["plip"],
        "student": {"config": tiny_config()},
        "evaluate": {"cards": ["one.toml"]},
        "distill": BESIDE,
    }
    with pytest.raises(ValidationError, match=r"distill: the term 'patches' compares .* \[extract\] patches is 0"):
        Recipe.model_validate(recipe)
    extracted = {**recipe, "extract": {"patches": 4}}
    assert Recipe.model_validate(extracted).distill.follows_patches
    rival = {**extracted, "distill": {}, "rivals": {"near": {**BESIDE, "augment": {"shift": 0.2}}}}
    with pytest.raises(ValidationError, match=r"rivals\.near: augment\.shift 0\.2 moves pictures by more than half"):
        Recipe.model_validate(rival)


SETTINGS = {"epochs": 6, "batch_size": 16, "lr": 2e-3, "checkpoint_every": 5, "log_every": 1, "warmup_steps": 2}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that makes a student with patches of this side; of 16, four a picture."""

    def make(patch: int = 16) -> Path:
        folder = tmp_path_factory.mktemp("begun") / "student"
        save(build_student(StudentSettings(config=tiny_config(patch=patch)), 0), folder)
        return folder

    return make


@pytest.fixture(scope="module")
def inputs(student: Callable[..., Path], tiny_corpus: Path, tiny_patches: Path, tiny_stacks: Path) -> Inputs:
    return Inputs(student(), tiny_corpus, tiny_patches, tiny_stacks, ["narrow", "wide"])


def train(inputs: Inputs, folder: Path, machine: Any = MACHINE, **changes: Any) -> list[float]:
    """The term's values, step by step, 0 where it has none."""
    settings = DistillSettings.model_validate({**SETTINGS, "terms": {"patches": 30.0}, **changes})
    distill(settings, inputs, Place(folder, machine, 3))
    return values(folder, "patches")


def values(folder: Path, name: str) -> list[float]:
    return [record.get(name) or 0.0 for record in read_metrics(folder / "metrics.jsonl")]


@pytest.fixture(scope="module")
def whole(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(inputs, folder)
    return folder


def test_training_lowers_it(inputs: Inputs, whole: Path, tmp_path: Path) -> None:
    for name, share in (("patches", 0.7), ("stacked", 1.0)):
        found = values(whole, name)
        assert len(found) == 36  # 6 epochs x 6 whole batches of 16
        assert sum(found[-6:]) < share * sum(found[:6])
    assert not any(train(inputs, tmp_path / "without", terms={}))
    assert not same(whole, tmp_path / "without")


def test_a_killed_training_resumes_to_the_same_bits(
    inputs: Inputs, whole: Path, tmp_path: Path, killed_at: Callable[[int | None], None]
) -> None:
    killed_at(8)  # the newest checkpoint is of step 5
    with pytest.raises(KeyboardInterrupt):
        train(inputs, tmp_path / "cut")
    killed_at(None)
    train(inputs, tmp_path / "cut")
    assert same(whole, tmp_path / "cut")


def test_a_batch_in_parts_has_the_loss_of_the_whole_batch(inputs: Inputs, whole: Path, tmp_path: Path) -> None:
    parts = train(inputs, tmp_path / "parts", MACHINE.model_copy(update={"micro_batch": 5}))
    assert parts == pytest.approx(values(whole, "patches"), rel=1e-3)
    assert_trained_alike(whole, tmp_path / "parts", lr=SETTINGS["lr"])  # type: ignore[arg-type]


def test_it_stands_beside_an_average_that_teaches(inputs: Inputs, whole: Path, tmp_path: Path) -> None:
    """Which embeds the plain pictures without patches; the first step's value is that of a student alone."""
    found = train(inputs, tmp_path / "run", epochs=1, ema=0.9, self_teacher=0.3)
    assert found[0] == pytest.approx(values(whole, "patches")[0], rel=1e-6)
    assert len(found) == 6


def test_what_cannot_follow_patches_is_refused_before_the_first_step(
    student: Callable[..., Path], inputs: Inputs, tiny_features: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"a student that gives patches .* the map is 1 x 1, smaller than .* 2 x 2"):
        train(replace(inputs, student=student(32)), tmp_path / "one")
    with pytest.raises(DataError, match=r"no teacher has features of patches \(narrow, wide\)"):
        train(replace(inputs, features=tiny_features), tmp_path / "two")
    with pytest.raises(ConfigError, match=r"machine\.compile does not reach the pass that gives the patches"):
        train(inputs, tmp_path / "three", MACHINE.model_copy(update={"compile": True}))
    with pytest.raises(ConfigError, match=r"augment\.shift 0\.3 moves pictures by more than half a patch"):
        train(inputs, tmp_path / "four", augment={"shift": 0.3})
