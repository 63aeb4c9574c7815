"""Augmentation: nothing when off, within its ranges when on, independent of the device's generator."""

import pytest
import torch

from mmkd.training.data.augment import augment, normalise
from mmkd.training.settings.train import AugmentSettings
from tolerance import assert_rounding


def images(count: int = 6, side: int = 8) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_switched_off_it_only_rescales() -> None:
    torch.testing.assert_close(augment(images(), AugmentSettings(), generator()), images().float() / 255)


def test_equal_generators_give_equal_images() -> None:
    settings = AugmentSettings(shift=0.2, gain=0.3, noise=0.1, flip=True)
    torch.testing.assert_close(
        augment(images(), settings, generator()), augment(images(), settings, generator()), rtol=0, atol=0
    )


def test_a_shifted_image_holds_the_pixels_of_the_original_moved() -> None:
    image = images(64)
    moved = augment(image, AugmentSettings(shift=0.25), generator()) * 255
    for before, after in zip(image.float(), moved, strict=True):
        found = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.allclose(after[:, 2:-2, 2:-2], before[:, 2 + down : 6 + down, 2 + right : 6 + right], atol=1e-3)
        ]
        assert len(found) == 1
        assert set(after.unique().round().tolist()) <= set(before.unique().tolist())


def test_gain_stays_in_its_range_and_is_one_factor_an_image() -> None:
    image = torch.full((200, 3, 4, 4), 100, dtype=torch.uint8)
    factor = augment(image, AugmentSettings(gain=0.3), generator()) * 255 / 100
    assert factor.min() >= 0.7
    assert factor.max() <= 1.3
    assert factor.std() > 0.1
    torch.testing.assert_close(factor.amin(dim=(1, 2, 3)), factor.amax(dim=(1, 2, 3)))


def test_flips_mirror_about_half_of_the_images() -> None:
    image = images(200)
    flipped = augment(image, AugmentSettings(flip=True), generator())
    mirrored = (flipped == image.flip(3).float() / 255).all(dim=(1, 2, 3))
    assert 70 < mirrored.sum() < 130
    assert ((flipped == image.float() / 255).all(dim=(1, 2, 3)) | mirrored).all()


def test_noise_has_its_standard_deviation() -> None:
    image = torch.full((20, 3, 16, 16), 128, dtype=torch.uint8)
    noise = augment(image, AugmentSettings(noise=0.05), generator()) - 128 / 255
    assert abs(noise.std().item() - 0.05) < 0.002


def test_normalise_is_what_torchvision_does() -> None:
    from torchvision.transforms.functional import normalize

    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    expected = normalize(images().float() / 255, mean.tolist(), std.tolist())
    torch.testing.assert_close(normalise(images(), mean, std), expected)


EVERYTHING = AugmentSettings(shift=0.2, gain=0.3, noise=0.1, flip=True)


@pytest.mark.parametrize("processes", [2, 3])
def test_the_number_of_processes_changes_nothing(processes: int) -> None:
    whole = augment(images(12), EVERYTHING, generator())
    share = 12 // processes
    parts = [
        augment(images(12)[first : first + share], EVERYTHING, generator(), total=12, first=first)
        for first in range(0, 12, share)
    ]
    assert_rounding(torch.cat(parts), whole)


def test_every_image_has_noise_of_its_own() -> None:
    image = torch.full((5, 3, 8, 8), 128, dtype=torch.uint8)
    noise = augment(image, AugmentSettings(noise=0.1), generator()) - 128 / 255
    close = torch.cdist(noise.flatten(1), noise.flatten(1)) < 1e-3
    assert torch.equal(close, torch.eye(5, dtype=torch.bool))


def test_pixels_are_left_as_they_were() -> None:
    image = images(4)
    before = image.clone()
    augment(image, EVERYTHING, generator())
    assert torch.equal(image, before)
