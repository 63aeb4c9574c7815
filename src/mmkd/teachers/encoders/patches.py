"""Features of the patches of a picture: a tower's own map, averaged on a grid, beside the vector of the same pass.

Letters: B pictures of C x H x W pixels, D dimension of a vector, E width of a map, g side of a grid, P = g * g cells.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from mmkd.errors import ModelError

PatchForward = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Pictures (B, C, H, W), normalised -> vectors (B, D), not normalised, and the patches' unit vectors (B, P, E)."""

EPS = 1e-6  # a cell where a tower gives nothing, as behind a ReLU, has the vector 0 and no gradient that explodes
CURE = "set [extract] patches smaller, or do without the patches of this model"


def no_patches(*_: object) -> PatchForward:
    """Of models whose maps nobody reads."""
    raise ModelError(f"mmkd reads no patches of models of this kind; {CURE}")


def pooled(map_BEHW: Tensor, grid: int) -> Tensor:
    """The map's averages on a grid of `grid` x `grid` equal cells, each a unit vector, float32 (B, P, E).

    A place of the map that lies in two cells counts in each by its share, so that maps of 7 x 7 and 16 x 16 have the
    same cells. Matrix products, whose gradients are the same in every run, which those of adaptive pooling are not.
    """
    over_gH, over_gW = (_shares(size, grid, map_BEHW) for size in map_BEHW.shape[2:])
    with _without_autocast(map_BEHW.device.type):
        cell_BggE = torch.einsum("gh,behw,kw->bgke", over_gH, map_BEHW.float(), over_gW)
        return F.normalize(cell_BggE.flatten(1, 2), dim=-1, eps=EPS)


def _without_autocast(device: str) -> AbstractContextManager[object]:
    """Averages are taken in float32, whatever the tower computed in; some kinds of devices know no autocast."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def _shares(size: int, grid: int, like: Tensor) -> Tensor:
    """How much each place of a line counts in the mean of each cell (grid, size); rows add up to 1."""
    edge = torch.arange(grid + 1, dtype=torch.float64, device=like.device) * size / grid
    place = torch.arange(size, dtype=torch.float64, device=like.device)
    inside = torch.minimum(edge[1:, None], place + 1) - torch.maximum(edge[:-1, None], place)
    return (inside.clamp(min=0) * grid / size).float()


def map_of_tokens(token_BLE: Tensor, height: int, width: int) -> Tensor:
    """Tokens in the order of rows as a map (B, E, rows, columns); a class token before them is left out.

    height, width: of the picture, whose shape is that of the map. Raises ModelError for another number of tokens.
    """
    for before in (0, 1):
        count = token_BLE.shape[1] - before
        rows = round((count * height / width) ** 0.5)
        if count and rows and count % rows == 0 and round(count / rows * height / width) == rows:
            return token_BLE[:, before:].transpose(1, 2).reshape(len(token_BLE), -1, rows, count // rows)
    raise ModelError(
        f"found {token_BLE.shape[1]} tokens for a picture of {height} x {width}; expected one a patch, with or without "
        f"a class token; {CURE}"
    )


def check_map(map_BEHW: Tensor, grid: int) -> Tensor:
    """The map. Raises ModelError where it has fewer places than the grid has cells in a row or column."""
    height, width = map_BEHW.shape[2:]
    if min(height, width) < grid:
        raise ModelError(f"the map is {height} x {width}, smaller than the grid of {grid} x {grid}; {CURE}")
    return map_BEHW


@dataclass(frozen=True)
class TowerPatches:
    """How an image tower of open_clip gives patches. levels: of its maps, first the one that is read, then the last.

    width: E. normed: whether the tower's last norm stands before its pooling, so that it belongs to the patches.
    """

    grid: int
    levels: tuple[int, ...]
    width: int
    normed: bool

    def __call__(self, visual: Any, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """See `PatchForward`. One pass through the tower."""
        found = _intermediates(visual, image_BCHW, list(self.levels), self.normed)
        return found["image_features"], pooled(found["image_intermediates"][0], self.grid)


def patches_of_tower(visual: nn.Module, grid: int) -> TowerPatches:
    """The deepest map that is no smaller than the grid: of transformers the last one, of small convolutional towers
    an earlier one. A picture without content goes through the tower once.

    Raises ModelError for a tower that gives no such map.
    """
    if not isinstance(visual, VisionTransformer | TimmModel | ModifiedResNet):
        raise ModelError(f"an image tower of kind {type(visual).__name__} gives no map of patches; {CURE}")
    plain = isinstance(visual, VisionTransformer) and (visual.attn_pool is not None or visual.final_ln_after_pool)
    side, like = visual.image_size, next(visual.parameters())
    height, width = (side, side) if isinstance(side, int) else side
    was_training = visual.training
    try:
        with torch.no_grad():
            blank = torch.zeros(1, 3, height, width, device=like.device, dtype=like.dtype)
            maps = _intermediates(visual.eval(), blank, None, not plain)["image_intermediates"]
    except (AttributeError, AssertionError, TypeError, ValueError, RuntimeError) as error:  # timm's towers differ
        raise ModelError(f"the image tower gives no map of patches ({error}); {CURE}") from error
    finally:
        visual.train(was_training)
    last = len(maps) - 1
    fitting = [level for level, one in enumerate(maps) if min(one.shape[2:]) >= grid]
    level = fitting[-1] if fitting else last
    check_map(maps[level], grid)
    return TowerPatches(grid, (level, last) if level < last else (last,), maps[level].shape[1], not plain)


def patches_of_network(network: Any, grid: int) -> PatchForward:
    """Of the image tower of a network of open_clip, or of one built like it. Raises ModelError where it gives none."""
    return partial(patches_of_tower(network.visual, grid), network.visual)


def _intermediates(visual: Any, image_BCHW: Tensor, levels: list[int] | None, normed: bool) -> dict[str, Any]:
    """Maps (B, E, h, w) of these levels, of all without, and the vectors (B, D); ModifiedResNet knows no norm."""
    found: dict[str, Any] = visual.forward_intermediates(
        image_BCHW, indices=levels, normalize_intermediates=normed, output_fmt="NCHW"
    )
    return found
