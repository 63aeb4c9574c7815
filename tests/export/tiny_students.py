"""Architectures of the tiny students, and what makes one of them."""

from collections.abc import Callable

from mmkd.teachers.files.open_clip_folder import OpenClipModel

VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
TIMM = {"timm_model_name": "test_resnet", "image_size": 32}
FIRST, POOLED = "cls_last_hidden_state_pooler", "cls_pooler"
Maker = Callable[..., OpenClipModel]
