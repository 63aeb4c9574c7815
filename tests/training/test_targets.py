"""Targets: the laws of each kind, and their file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.errors import ConfigError, DataError
from mmkd.training.experimental.targets import (
    DISPERSIONS,
    TENSORS,
    Target,
    fit_target,
    levelled,
    load_targets,
    phi_s,
    random_rotation,
    save_targets,
)
from tolerance import assert_rounding

KINDS = ("none", "centre", "standardise", "phi-s")


def cone(rows: int, dim: int, seed: int) -> np.ndarray:
    """Unit vectors around a direction, wider along some axes than along others."""
    rng = np.random.default_rng(seed)
    around_ND = rng.normal(size=(rows, dim)) @ rng.normal(size=(dim, dim)) * np.linspace(0.1, 1.0, dim)
    around_ND = around_ND + 3.0 * rng.normal(size=dim)
    return np.asarray(around_ND / np.linalg.norm(around_ND, axis=1, keepdims=True)).astype(np.float16)


def fitted(kind: str, dim: int, seed: int = 0) -> tuple[Target, torch.Tensor, torch.Tensor, Target]:
    image_ND, text_ND = cone(300, dim, seed), cone(300, dim, seed + 1)
    target = fit_target(kind, image_ND, text_ND, np.random.default_rng(seed))
    return target, torch.from_numpy(image_ND).float(), torch.from_numpy(text_ND).float(), target


def test_none_changes_nothing() -> None:
    target, image, text, _ = fitted("none", 6)
    assert torch.equal(target.image(image), image)
    assert torch.equal(target.text(text), text)


@pytest.mark.parametrize("kind", ["centre", "standardise", "phi-s"])
def test_each_side_has_mean_zero(kind: str) -> None:
    target, image, text, _ = fitted(kind, 12)
    for side in (target.image(image), target.text(text)):
        assert_rounding(side.mean(dim=0), torch.zeros(12), size=float(side.abs().max()))


@pytest.mark.parametrize("kind", ["standardise", "phi-s"])
@pytest.mark.parametrize("dim", [2, 8, 12, 7, 64])
def test_every_dimension_has_variance_one_over_both_sides(kind: str, dim: int) -> None:
    target, image, text, _ = fitted(kind, dim)
    both = torch.cat([target.image(image), target.text(text)])
    torch.testing.assert_close(both.var(dim=0, correction=0), torch.ones(dim), rtol=1e-3, atol=0)


@pytest.mark.parametrize("dim", [8, 12])
def test_phi_s_keeps_the_ratios_of_distances_and_standardising_does_not(dim: int) -> None:
    ratios = {}
    for kind in ("phi-s", "standardise"):
        target, image, _, _ = fitted(kind, dim)
        before, after = (torch.pdist(side[:40]) for side in (image, target.image(image)))
        ratios[kind] = (after / before).std() / (after / before).mean()
    assert ratios["phi-s"] < 1e-4
    assert ratios["standardise"] > 0.05


def test_phi_s_keeps_what_a_teacher_says_of_a_picture_and_a_caption() -> None:
    turned, image, text, _ = fitted("phi-s", 12)
    centred, *_ = fitted("centre", 12)
    cosine = torch.nn.functional.cosine_similarity
    assert_rounding(
        cosine(turned.image(image), turned.text(text)), cosine(centred.image(image), centred.text(text)), size=1.0
    )


def test_phi_s_is_hadamard_s_rotation_of_the_principal_axes_by_hand() -> None:
    # variances 9 and 1 along the axes: the diagonals, over the root of their mean 5
    found = phi_s(np.diag([9.0, 1.0]), np.random.default_rng(0))
    np.testing.assert_allclose(np.abs(found), np.full((2, 2), np.sqrt(0.5 / 5.0)))
    np.testing.assert_allclose(found.T @ np.diag([9.0, 1.0]) @ found, [[1.0, -0.8], [-0.8, 1.0]])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 24), st.integers(0, 10_000))
def test_plane_rotations_level_any_variances(dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    factor_DD = rng.normal(size=(dim, dim)) * rng.exponential(size=dim) ** 3
    covariance_DD = factor_DD @ factor_DD.T
    rotation_DD = levelled(covariance_DD, random_rotation(dim, rng))
    np.testing.assert_allclose(rotation_DD.T @ rotation_DD, np.eye(dim), atol=1e-9)
    variance_D = np.diag(rotation_DD.T @ covariance_DD @ rotation_DD)
    np.testing.assert_allclose(variance_D, np.trace(covariance_DD) / dim, rtol=1e-8)


def test_a_dimension_that_never_varies_stays_finite() -> None:
    image_ND = cone(50, 6, 0)
    image_ND[:, 2] = 0.25
    for kind in KINDS:
        target = fit_target(kind, image_ND, image_ND, np.random.default_rng(0))
        assert torch.isfinite(target.image(torch.from_numpy(image_ND).float())).all()


def test_dispersion_is_that_of_the_targets() -> None:
    _, _, _, cone_as_it_is = fitted("none", 32)
    _, _, _, centred = fitted("centre", 32)
    # around their own mean, vectors lie at about a right angle to whatever direction is left
    assert centred.image_dispersion == pytest.approx((np.pi / 2) ** 2, rel=0.1)
    assert cone_as_it_is.image_dispersion < centred.image_dispersion


def test_a_file_holds_every_kind_to_the_bit(tmp_path: Path) -> None:
    kept = {kind: fitted(kind, 8)[3] for kind in KINDS}
    kept["offset"] = Target(torch.zeros(8), torch.zeros(8), torch.ones(8, 3), torch.arange(3.0), 0.5, 0.25)
    save_targets(kept, tmp_path / "targets.safetensors")
    for (name, before), after in zip(
        kept.items(), load_targets(tmp_path / "targets.safetensors", list(kept)), strict=True
    ):
        for part in (*TENSORS, *DISPERSIONS):
            value, found = getattr(before, part), getattr(after, part)
            if isinstance(value, torch.Tensor):
                assert torch.equal(found, value), (name, part)
            else:
                assert found == pytest.approx(value) if isinstance(value, float) else found is None
        assert after.width == before.width


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("kind", ["none", "centre", "standardise", "phi-s"])
def test_with_nothing_to_measure_vectors_stay_as_they_are(kind: str, rows: int) -> None:
    side_ND = cone(4, 4, 0)
    found = fit_target(kind, side_ND[:rows], side_ND[:rows], np.random.default_rng(0))
    vector_ND = torch.from_numpy(side_ND).float()
    torch.testing.assert_close(found.image(vector_ND), vector_ND)
    assert (found.image_dispersion, found.text_dispersion) == (1.0, 1.0)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    save_targets({"a": fitted("centre", 4)[3]}, tmp_path / "targets.safetensors")
    with pytest.raises(DataError, match="not the targets of a, b"):
        load_targets(tmp_path / "targets.safetensors", ["a", "b"])
    with pytest.raises(DataError, match="not the targets of a"):
        load_targets(tmp_path / "absent.safetensors", ["a"])
    with pytest.raises(ConfigError, match="unknown targets 'whiten'"):
        fit_target("whiten", cone(9, 4, 0), cone(9, 4, 0), np.random.default_rng(0))
