"""The stage `export`: the student as an open_clip folder with a model card, checked before it is published."""

from pathlib import Path

import open_clip
import torch

from mmkd.errors import ModelError
from mmkd.randomness import Purpose, torch_generator
from mmkd.student.model_card import CardFacts, model_card
from mmkd.teachers.files import open_clip_folder
from mmkd.teachers.files.open_clip_folder import OpenClipModel

TOLERANCE = 1e-5
CARD = "README.md"


def export(student: Path, facts: CardFacts, folder: Path, home: Path) -> dict[str, int]:
    """Body of the stage: copy the student, prove that plain open_clip gives its outputs, write the card.

    home: the folder's final place. Raises ModelError when the exported folder differs from the student.
    """
    model = open_clip_folder.load(student)
    open_clip_folder.save(model, folder, home)
    worst = largest_difference(model, folder)
    if worst > TOLERANCE:
        raise ModelError(f"{folder}: open_clip's outputs differ from the student's by {worst:.1e}, over {TOLERANCE:g}")
    (folder / CARD).write_text(model_card(facts), encoding="utf-8")
    return {"parameters": sum(p.numel() for p in model.network.parameters())}


@torch.inference_mode()
def largest_difference(model: OpenClipModel, folder: Path) -> float:
    """Largest absolute difference of unit embeddings between the model and the folder opened by plain open_clip."""
    name = f"local-dir:{folder}"
    overrides = open_clip_folder.wherever_it_lies(model.config, folder)  # its config names its final place already
    network, transform = open_clip.create_model_from_pretrained(name, **overrides)
    tokens_BL = open_clip.get_tokenizer(name)(["a chest x-ray", "no finding", ""])
    size = network.visual.image_size
    side = size if isinstance(size, int) else size[0]
    image_BCHW = torch.rand(2, 3, side, side, generator=torch_generator(0, Purpose.EXPORT_CHECK))
    network.eval()
    model.network.eval()
    same_tokens = torch.equal(tokens_BL, model.tokenizer(["a chest x-ray", "no finding", ""]))
    if not same_tokens or repr(transform) != repr(model.transform):
        return float("inf")
    pairs = zip(network(image_BCHW, tokens_BL)[:2], model.network(image_BCHW, tokens_BL)[:2], strict=True)
    pairs_differ = [float((ours - theirs).abs().max()) for ours, theirs in pairs]
    return max(pairs_differ)
