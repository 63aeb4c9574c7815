"""State dicts from the key layouts of published files to those of today's libraries: pure functions in LAYOUTS."""

import re
from collections.abc import Callable, Collection

from torch import nn

from mmkd.errors import ModelError
from mmkd.teachers.files.checkpoint import StateDict

OPENAI_FACTS = ("input_resolution", "context_length", "vocab_size")  # stored as tensors in OpenAI's own archives


def plain(tensors: StateDict) -> StateDict:
    """The names of today. `position_ids` are dropped, as everywhere: 0, 1, 2, ... that old transformers stored."""
    return {k: v for k, v in tensors.items() if not k.endswith("position_ids") and k not in OPENAI_FACTS}


def text_encoder(tensors: StateDict) -> StateDict:
    """The fork of UniMed-CLIP and of the public MMKD-CLIP: open_clip's `text.` is called `text_encoder.` there."""
    return {
        "text." + key.removeprefix("text_encoder.") if key.startswith("text_encoder.") else key: value
        for key, value in plain(tensors).items()
    }


# what only the pre-training of PMC-CLIP used: its temperature, and the masked words predicted from fused tokens
PMC_CLIP_TRAINING = re.compile(
    r"logit_scale|positional_embedding|ln_final\.(weight|bias)|mlm_projection|img_special_token"
    r"|fusion_module\.resblocks\.\d+\..+"
)


def pmc_clip(tensors: StateDict) -> StateDict:
    """The two towers and the projection of PMC-CLIP's training checkpoint."""
    return {key: value for key, value in plain(tensors).items() if not PMC_CLIP_TRAINING.fullmatch(key)}


SWIN_BLOCK = re.compile(r"(vision_model\.model\.encoder\.layers\.\d+\.blocks\.\d+\.)(.+?)(\.weight|\.bias|)")
SWIN_OF_TRANSFORMERS_4 = {
    "attention.self.query": "attention.q_proj",
    "attention.self.key": "attention.k_proj",
    "attention.self.value": "attention.v_proj",
    "attention.self.relative_position_bias_table": "attention.relative_position_bias.relative_position_bias_table",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


def medclip(tensors: StateDict) -> StateDict:
    """MedCLIP with the Swin of transformers 4; its `relative_position_index` follows from the window's size."""
    renamed: StateDict = {}
    for key, value in plain(tensors).items():
        if found := SWIN_BLOCK.fullmatch(key):
            block, part, kind = found.groups()
            if part.endswith("relative_position_index"):
                continue
            key = block + SWIN_OF_TRANSFORMERS_4.get(part, part) + kind
        renamed[key] = value
    return renamed


LAYOUTS: dict[str, Callable[[StateDict], StateDict]] = {
    "plain": plain,
    "text_encoder": text_encoder,
    "pmc_clip": pmc_clip,
    "medclip": medclip,
}


def load_strictly(network: nn.Module, tensors: StateDict, where: str) -> None:
    """Fill every weight of the network, in its own precision; nothing is left as it was built.

    Raises ModelError that counts what is missing, left over or of another shape, before anything is changed.
    """
    wanted = network.state_dict()
    scales = {
        k: v.reshape(wanted[k].shape) for k, v in tensors.items() if k in wanted and v.numel() == wanted[k].numel() == 1
    }
    tensors = {**tensors, **scales}  # logit scales are stored as () or (1,)
    missing = sorted(wanted.keys() - tensors.keys())
    spare = sorted(tensors.keys() - wanted.keys())
    other = [
        f"{key} {tuple(tensors[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in tensors and tensors[key].shape != wanted[key].shape
    ]
    problems = [
        f"{len(keys)} {what} ({keys[0]}{', ...' if len(keys) > 1 else ''})"
        for what, keys in (
            ("weights are missing", missing),
            ("are not of this model", spare),
            ("have another shape", other),
        )
        if keys
    ]
    if problems:
        why = prefix_of(wanted.keys(), tensors.keys()) or "is it another variant?"
        raise ModelError(f"{where}: does not fit the model: {'; '.join(problems)}; {why}")
    network.load_state_dict(tensors, strict=True)


def prefix_of(wanted: Collection[str], found: Collection[str]) -> str:
    """What to strip of the names, where most weights stand under one prefix: of a training library, say."""
    for key in found:
        for start in (place.end() for place in re.finditer(r"\.", key)):
            prefix = key[:start]
            if key[start:] in wanted and sum(prefix + name in found for name in wanted) > len(wanted) / 2:
                return f"the names begin with {prefix!r}; strip it and save the weights again"
    return ""
