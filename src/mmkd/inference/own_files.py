"""What the vectors of an open_clip folder come from: one digest for PyTorch and for ONNX Runtime in fp32."""

from pathlib import Path

from mmkd.folders.stage import content_digest

WEIGHTS = "open_clip_model.safetensors"
OWN = (WEIGHTS, "open_clip_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
"""Others may lie beside them: a classifier, a model card, other formats of the same weights."""


def own_digest(folder: Path) -> str:
    """Of weights, configuration and tokenizer; "" for a folder without open_clip's weights file."""
    return content_digest(folder, OWN, remember=True) if (folder / WEIGHTS).is_file() else ""
