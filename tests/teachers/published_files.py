"""Weights in the files of the zoo's teachers: names, wrappers, prefixes and precisions as published."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
import torch.nn.functional as F
from miniature import CONTEXT, miniature, pictures
from oracles import Oracle, State, oracle
from safetensors.torch import save_file
from torch import Tensor

from mmkd.settings import overlaid
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.load import load_entry
from mmkd.teachers.zoo.entry import ZooEntry, zoo_entry
from tolerance import assert_rounding


def position_ids(state: State, prefix: str) -> State:
    """With what old transformers stored beside the embeddings."""
    return {**state, f"{prefix}embeddings.position_ids": torch.arange(CONTEXT)[None]}


def bert_ids(state: State) -> State:
    """BERT towers in open_clip's layout come with them; CLIP's own do not."""
    return position_ids(state, "text.transformer.") if any(key.startswith("text.") for key in state) else state


def in_training(state: State) -> dict[str, Any]:
    """open_clip's training checkpoint, of parallel processes with mixed precision."""
    moments = {0: {"step": torch.tensor(9.0), "exp_avg": torch.ones(3), "exp_avg_sq": torch.ones(3)}}
    groups = [{"lr": np.float64(1e-4), "betas": (0.9, 0.98), "params": [0]}]
    return {
        "epoch": 9,
        "name": "a run",
        "state_dict": OrderedDict((f"module.{key}", value) for key, value in state.items()),
        "optimizer": {"state": moments, "param_groups": groups},
        "scaler": {"scale": 65536.0, "growth_factor": 2.0},
    }


def in_the_fork(state: State) -> dict[str, Any]:
    """UniMed-CLIP's and MMKD-CLIP's: `text.` is `text_encoder.`, and a BERT of old transformers."""
    renamed = {
        key.replace("text.", "text_encoder.", 1) if key.startswith("text.") else key: v for key, v in state.items()
    }
    return in_training(position_ids(renamed, "text_encoder.transformer."))


def in_half(state: State) -> dict[str, Any]:
    """PubMedCLIP's: OpenAI's `convert_weights` halves matrices and convolutions with their biases, not norms."""
    kept = ("ln_", "bn", "downsample.1", "positional_embedding", "token_embedding", "logit_scale", "class_embedding")
    mixed = {k: v if any(part in k for part in kept) or v.dtype == torch.int64 else v.half() for k, v in state.items()}
    moments = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-5, "params": [0]}]}
    return {"best_epoch": 7, "state_dict": OrderedDict(mixed), "optimizer_state_dict": moments, "best_loss": 0.5}


def of_old_transformers(state: State) -> State:
    return position_ids(position_ids(state, "text_model."), "vision_model.")


FORMS: dict[str, Callable[[State], Any]] = {
    "biomedclip": bert_ids,
    "bmc-clip": in_training,
    "chexzero": OrderedDict,
    "dermlip": OrderedDict,
    "genmedclip": bert_ids,
    "medpmc-clip": OrderedDict,
    "medsiglip": OrderedDict,
    "mmkd-clip": in_the_fork,
    "monet": OrderedDict,
    "plip": of_old_transformers,
    "pmc-vit-l-14": OrderedDict,
    "pubmedclip": in_half,
    "quiltnet": bert_ids,
    "unimed-clip": in_the_fork,
}


def publish(entry: ZooEntry, state: State, folder: Path, index: int = 0) -> Path:
    """The small entry's weights in one of its sets of files, under their published name and layout."""
    folder.mkdir(parents=True, exist_ok=True)
    assert entry.weights
    (name,) = entry.weights.files[index]
    path, form = folder / name, FORMS[entry.name](state)
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous().clone() for key, value in form.items()}, path)
    else:
        torch.save(form, path)
        as_numpy_1(path)
    return path


def as_numpy_1(path: Path) -> None:
    """Pickles of NumPy 1 call its module by another name; those without NumPy's scalars stay as they are."""
    with ZipFile(path) as source:
        members = [(name, source.read(name)) for name in source.namelist()]
    with ZipFile(path, "w") as target:
        for name, content in members:
            target.writestr(name, content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


def publish_words(entry: ZooEntry, source: Path, folder: Path) -> None:
    """Its tokenizer in the folder `text`, from that of the oracle's folder: the vocabulary alone for BERTs."""
    from transformers import AutoTokenizer

    if not entry.text:
        return
    (folder / "text").mkdir(parents=True, exist_ok=True)
    if entry.text.files[0] == ["vocab.txt"]:
        numbers = AutoTokenizer.from_pretrained(source).get_vocab()
        (folder / "text" / "vocab.txt").write_text("\n".join(sorted(numbers, key=numbers.__getitem__)) + "\n")
    else:
        for name in entry.text.files[-1]:
            (folder / "text" / name).write_bytes((source / name).read_bytes())


def small(name: str, variant: str | None = None, **changes: Any) -> ZooEntry:
    data = overlaid(miniature(zoo_entry(name, variant)).model_dump(), changes)
    return ZooEntry.model_validate(data)


def published(entry: ZooEntry, folder: Path, index: int = 0) -> Oracle:
    """The oracle, and its weights and words as published in the folder."""
    found = oracle(entry, folder / "own", rounded=entry.name == "pubmedclip")
    publish(entry, found.state, folder, index)
    publish_words(entry, folder / "own", folder)
    return found


def teacher(entry: ZooEntry, folder: Path) -> Teacher:
    return Teacher(entry.name, entry.licence, load_entry(entry, folder), torch.device("cpu"))


def image_vectors(found: Teacher) -> Tensor:
    return found.encode_images(torch.stack([found.transform.pixels(image) for image in pictures()]))


def assert_same(found_ND: Tensor, wanted_ND: Tensor) -> None:
    assert_rounding(found_ND, F.normalize(wanted_ND, dim=1), size=1.0)
