"""Teachers that transformers builds: CLIP, SigLIP, others with `get_image_features` and `get_text_features`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import isclose
from pathlib import Path
from typing import Any, cast

from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import CenterCrop, Compose

from mmkd.errors import ModelError
from mmkd.images.transform import ImageTransform, from_compose
from mmkd.teachers.adapters.protocol import ZooAdapter
from mmkd.teachers.encoders.patches import CURE, PatchForward, check_map, map_of_tokens, pooled
from mmkd.teachers.encoders.teacher import Towers
from mmkd.teachers.encoders.tokens import CaptionTokenizer, Padding, clip_tokenizer, mask, transformers_tokenizer
from mmkd.teachers.files.configs import model_folder, nobody_is_asked, refuse_code, transformers_config
from mmkd.teachers.files.layouts import prefix_of
from mmkd.teachers.files.open_clip_folder import positions_of
from mmkd.teachers.zoo.entry import ZooEntry
from mmkd.teachers.zoo.settings import TeacherSpec

PADDING: dict[str, Padding] = {"clip": "longest"}  # causal; SigLIP and unknown towers see captions at full length
RESAMPLE = {2: "bilinear", 3: "bicubic"}  # PIL's numbers, in image processors' configs
SENTENCEPIECE = "spiece.model"
WEIGHT_FILES = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
UNDERSTOOD = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")


def build(entry: ZooEntry) -> nn.Module:
    """The network with random weights; config: `model_type` and the keys of that model's config class."""
    from transformers import AutoConfig, AutoModel

    settings = dict(entry.config)
    return cast(nn.Module, AutoModel.from_config(AutoConfig.for_model(settings.pop("model_type"), **settings)))


def tokenizer(entry: ZooEntry, folder: Path | None) -> CaptionTokenizer:
    """CLIP's BPE, SigLIP's SentencePiece from the model file in the folder, or another tokenizer that lies there."""
    from transformers import SiglipTokenizer

    length = entry.context_length or 77
    if folder is None:
        return clip_tokenizer(length)
    pieces = folder / SENTENCEPIECE
    try:
        words = SiglipTokenizer(str(pieces)) if pieces.is_file() else _words(folder)
    except ImportError as error:
        raise ModelError(f"the tokenizer of {entry.name!r} needs a package: pip install sentencepiece") from error
    except Exception as error:  # SentencePiece and tokenizers raise their own
        raise ModelError(f"{folder}: the tokenizer of {entry.name!r} does not load: {error}") from error
    return transformers_tokenizer(words, length, entry.padding)


def check(entry: ZooEntry, folder: Path) -> None:
    """Compare the entry with `config.json` and `preprocessor_config.json` where they lie beside the weights."""
    for name, differences in (("config.json", _of_the_network), ("preprocessor_config.json", _of_the_images)):
        path = folder / name
        if not path.is_file():
            continue
        try:
            wrong = differences(entry, path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{path}: not a config of transformers ({error}); fetch it again, or take it away"
            ) from error
        if wrong:
            raise ModelError(
                f"{path}: not the model that the zoo calls {entry.name!r}: {'; '.join(wrong)}; is it another variant?"
            )


def _of_the_network(entry: ZooEntry, path: Path) -> list[str]:
    from transformers import AutoConfig

    ours, theirs = AutoConfig.for_model(**entry.config), transformers_config(path.parent)
    return _differences(ours.to_dict(), theirs.to_dict())


def _of_the_images(entry: ZooEntry, path: Path) -> list[str]:
    ours, theirs = transform(entry), _processor(path.parent)
    return [
        f"{part} is {getattr(theirs, part)!r} there and {getattr(ours, part)!r} in the zoo"
        for part in ("geometry", "mean", "std")
        if repr(getattr(ours, part)) != repr(getattr(theirs, part))
    ]


ARCHITECTURE = (
    *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act"),
    *("image_size", "patch_size", "projection_dim", "vocab_size", "max_position_embeddings", "layer_norm_eps"),
)


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], place: str = "") -> list[str]:
    found = [
        f"{place}{key} is {theirs.get(key)!r} there and {ours[key]!r} in the zoo"
        for key in ARCHITECTURE
        if key in ours and ours[key] != theirs.get(key) and not (place and key == "projection_dim")
    ]
    for part in ("vision_config", "text_config"):
        if part in ours:
            found += _differences(ours[part], theirs.get(part, {}), f"{part}.")
    return found


@dataclass(frozen=True)
class FloorCrop:
    """The centre of an image, of (height, width); of two middles the upper left one, as transformers crops by PIL.

    torchvision's CenterCrop, open_clip's, rounds half a pixel to the even one.
    """

    size: tuple[int, int]

    def __call__(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))


def transform(entry: ZooEntry) -> ImageTransform:
    """The entry's `preprocess`, cropped as transformers does."""
    return _cropped(entry.preprocess)


def _cropped(preprocess: Mapping[str, Any], crop: tuple[int, int] | None = None) -> ImageTransform:
    """crop: of (height, width), another than the size that is resized to."""
    steps = image_transform_v2(PreprocessCfg(**preprocess), is_train=False).transforms
    found = [FloorCrop(crop or tuple(step.size)) if isinstance(step, CenterCrop) else step for step in steps]
    if crop is not None and not any(isinstance(step, FloorCrop) for step in found):
        found.insert(1, FloorCrop(crop))  # behind the resize, which is the first
    return from_compose(Compose(found))


def encode_image(network: Any, image_BCHW: Tensor) -> Tensor:
    """(B, D)."""
    return _vector(network.get_image_features(pixel_values=image_BCHW))


def patches(network: Any, grid: int) -> PatchForward:
    """The last hidden states, without a class token; CLIP's are those before the last norm, which it alone passes.

    The forward pass raises ModelError for a network that wraps no such states, or states that are no map.
    """

    def forward(image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        found = network.get_image_features(pixel_values=image_BCHW)
        token_BLE = getattr(found, "last_hidden_state", None)
        if token_BLE is None or token_BLE.ndim != 3:
            raise ModelError(f"{type(network).__name__} gives no tokens of patches; {CURE}")
        map_BEHW = map_of_tokens(token_BLE, *image_BCHW.shape[2:])
        return _vector(found), pooled(check_map(map_BEHW, grid), grid)

    return forward


def encode_text(network: Any, ids_BL: Tensor, length_B: Tensor) -> Tensor:
    """(B, D); SigLIP was trained without a mask."""
    if network.config.model_type == "siglip":
        return _vector(network.get_text_features(input_ids=ids_BL))
    return _vector(network.get_text_features(input_ids=ids_BL, attention_mask=mask(length_B, ids_BL.shape[1])))


def _vector(output: Any) -> Tensor:
    """Since transformers 5 the projected vector is wrapped as `pooler_output`."""
    return cast(Tensor, getattr(output, "pooler_output", output))


def from_spec(spec: TeacherSpec) -> Towers:
    """A model that a recipe names by a hub id or a folder, its own preprocessing included.

    Raises ModelError when it does not load or is not CLIP-like.
    """
    try:
        folder = model_folder(spec.model)
        network, processor, words = _network(spec.model, folder), _processor(folder), _words(folder)
        context = _context(network)
    except Exception as error:  # transformers raises OSError, ValueError, KeyError, ImportError alike
        raise ModelError(f"teacher {spec.name!r}: {spec.model} does not load: {error}") from error
    return Towers(
        network=network,
        encode_image=lambda image: encode_image(network, image),
        encode_text=lambda ids, length: encode_text(network, ids, length),
        patches=partial(patches, network),
        transform=processor,
        tokenizer=transformers_tokenizer(words, context, PADDING.get(network.config.model_type, "full")),
        revision="" if Path(spec.model).is_dir() else folder.name,  # snapshots lie in folders named by their commit
    )


def check_spec(spec: TeacherSpec) -> int | None:
    """Fetch the files of such a model and read its config; returns its dimension, where the config says it.

    Raises ModelError when they are not to be had.
    """
    from transformers.utils import cached_file

    try:
        config = transformers_config(model_folder(spec.model))
        found = [cached_file(spec.model, name, _raise_exceptions_for_missing_entries=False) for name in WEIGHT_FILES]
    except Exception as error:  # as in `from_spec`
        raise ModelError(f"teacher {spec.name!r}: {spec.model} does not load: {error}") from error
    if not any(found):
        raise ModelError(f"teacher {spec.name!r}: {spec.model} does not load: none of {', '.join(WEIGHT_FILES)} found")
    return getattr(config, "projection_dim", None)


def _network(model: str, folder: Path) -> Any:
    """folder: has the checked descriptions of the model, which is a folder or a repository of the hub."""
    from transformers import AutoModel

    config, revision = transformers_config(folder), {} if Path(model).is_dir() else {"revision": folder.name}
    with nobody_is_asked():
        network, report = AutoModel.from_pretrained(
            model, config=config, trust_remote_code=False, weights_only=True, output_loading_info=True, **revision
        )
    if missing := sorted(report["missing_keys"]):  # transformers would leave these random and only warn
        why = prefix_of(missing, report["unexpected_keys"])
        raise ValueError(f"{len(missing)} weights are missing, {missing[0]} first{why and '; ' + why}")
    if not (hasattr(network, "get_image_features") and hasattr(network, "get_text_features")):
        raise ValueError(f"{type(network).__name__} is not a CLIP-like model: it has no get_image_features")
    return network


def _words(folder: Path) -> Any:
    from transformers import AutoTokenizer

    with nobody_is_asked():
        return AutoTokenizer.from_pretrained(model_folder(str(folder)), trust_remote_code=False)


def _processor(folder: Path) -> ImageTransform:
    from transformers import AutoImageProcessor

    refuse_code(folder)
    with nobody_is_asked():
        return image_transform(AutoImageProcessor.from_pretrained(folder, trust_remote_code=False).to_dict())


def _context(network: Any) -> int:
    """How many tokens the text tower takes: what its config says, or the positions that it has, if those are fewer."""
    said = int(network.config.text_config.max_position_embeddings)
    room = positions_of(getattr(network, "text_model", nn.Identity()))
    return said if room is None else min(said, room)


def image_transform(processor: Mapping[str, Any]) -> ImageTransform:
    """An image processor's config as PIL's transform, which published features were made with.

    Its switches are obeyed. Raises ValueError for steps that are not understood, and for images that would keep
    different sizes.
    """
    unknown = [key for key, value in processor.items() if key.startswith("do_") and value and key not in UNDERSTOOD]
    if unknown or processor.get("resample") not in RESAMPLE:
        raise ValueError(f"image processor with steps that are not understood: {', '.join(unknown) or processor}")
    shape, mode, crop = _sizes(processor)
    mean, std = _normalisation(processor)
    how = {"size": shape, "resize_mode": mode, "interpolation": RESAMPLE[processor["resample"]]}
    return _cropped({**how, "mean": mean, "std": std}, crop)


def _sizes(processor: Mapping[str, Any]) -> tuple[tuple[int, int], str, tuple[int, int] | None]:
    """(height, width) to resize to, open_clip's mode for it, and what is cropped of that, None for all of it."""
    size, crop = processor.get("size") or {}, processor.get("crop_size") or {}
    crops = bool(processor.get("do_center_crop"))
    whole = (crop["height"], crop["width"]) if crops and {"height", "width"} <= crop.keys() else None
    edge = size.get("shortest_edge")
    height, width = edge or size.get("height"), edge or size.get("width")
    if not (processor.get("do_resize") and height and width) or (edge and whole is None):
        raise ValueError(
            f"image processor with do_resize {processor.get('do_resize')}, do_center_crop {crops}, size {dict(size)}: "
            "images would keep different sizes; expected a resize to one size, or a crop behind it"
        )
    if whole is not None and (whole[0] > height or whole[1] > width):
        raise ValueError(f"image processor that resizes to {size} and crops to {crop}; expected a crop no larger")
    return (height, width), "shortest" if edge else "squash", whole


def _normalisation(processor: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation for pixel values in 0..1 that do what rescaling and normalising do to those in 0..255."""
    factor = float(processor.get("rescale_factor") or 1 / 255) if processor.get("do_rescale", True) else 1.0
    shown = 1.0 if isclose(factor * 255, 1.0, rel_tol=1e-12) else factor * 255
    if not processor.get("do_normalize", True):
        return (0.0,) * 3, (1 / shown,) * 3
    return tuple(v / shown for v in processor["image_mean"]), tuple(v / shown for v in processor["image_std"])


ADAPTER = ZooAdapter(
    build=build,
    image=encode_image,
    text=encode_text,
    patches=patches,
    tokenizer=tokenizer,
    transform=transform,
    check=check,
)
