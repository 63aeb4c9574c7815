"""Projections of K teachers' features into one space of the student's dimension, for the reference recipe.

`autoencoder` follows what the public code does: per-teacher linear maps in and out around a shared encoder and decoder,
trained to reconstruct each teacher's features, and only the first linear map is used afterwards. `linear` is a random
near-isometry, which needs no training.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmkd.randomness import Purpose, seed_of

NOISE = 0.01  # added to the code while it is trained
DROPOUT = 0.2


class AutoEncoder(nn.Module):
    """Per-teacher linear in and out, a shared encoder and decoder for images and another pair for captions."""

    def __init__(self, dims: Sequence[int], latent: int) -> None:
        super().__init__()
        self.inward = nn.ModuleList(nn.Linear(dim, latent) for dim in dims)
        self.outward = nn.ModuleList(nn.Linear(latent, dim) for dim in dims)
        self.image, self.text = (_coder(latent) for _ in range(2))

    def forward(self, k: int, image_ND: Tensor, text_ND: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructions of teacher k's features; noise: (N, latent)."""
        image_NL, text_NL = self.image(self.inward[k](image_ND) + noise), self.text(self.inward[k](text_ND) + noise)
        return self.outward[k](image_NL), self.outward[k](text_NL)


def _coder(latent: int) -> nn.Sequential:
    layers = [(nn.Linear(latent, latent), nn.ReLU(), nn.Dropout(DROPOUT)) for _ in range(3)]
    return nn.Sequential(*(module for layer in layers for module in layer), nn.Linear(latent, latent))


def train_autoencoder(
    dims: Sequence[int],
    latent: int,
    batches: Callable[[int], list[tuple[Tensor, Tensor, Tensor]]],
    steps: int,
    seed: int,
    lr: float = 1e-3,
) -> list[nn.Linear]:
    """Train on mean squared reconstruction; returns the first linear map of each teacher.

    batches(step): per teacher image (B, D_k), text (B, D_k) and which rows are valid (B,).
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, Purpose.AUTOENCODER))
        model = AutoEncoder(dims, latent)
        optimizer = torch.optim.AdamW(model.parameters(), lr)
        for step in range(steps):
            loss = torch.zeros(())
            for k, (image, text, valid) in enumerate(batches(step)):
                if valid.any():
                    image_ND, text_ND = image[valid], text[valid]
                    noise = NOISE * torch.randn(len(image_ND), latent)
                    rebuilt_image, rebuilt_text = model(k, image_ND, text_ND, noise)
                    loss = loss + (rebuilt_image - image_ND).square().mean() + (rebuilt_text - text_ND).square().mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return [linear for linear in model.inward if isinstance(linear, nn.Linear)]


def linear_projections(dims: Sequence[int], latent: int, seed: int) -> list[nn.Linear]:
    """Random orthonormal rows or columns: lengths and angles are kept as well as the dimensions allow."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, Purpose.LINEAR_PROJECTION))
        projections = [nn.Linear(dim, latent, bias=False) for dim in dims]
        for projection in projections:
            nn.init.orthogonal_(projection.weight)
    return projections
