"""From a spec to a loaded teacher: one adapter per library."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from mmkd.errors import ModelError
from mmkd.teachers.adapters import medclip, open_clip, pmc_clip, transformers
from mmkd.teachers.adapters.protocol import ZooAdapter
from mmkd.teachers.encoders.teacher import Teacher, Towers
from mmkd.teachers.encoders.tokens import CaptionTokenizer
from mmkd.teachers.files.checkpoint import check_header
from mmkd.teachers.files.identity import files_digest
from mmkd.teachers.files.layouts import LAYOUTS, load_strictly
from mmkd.teachers.files.locate import find_tokenizer, find_weights
from mmkd.teachers.zoo.entry import ZooEntry, zoo_entry
from mmkd.teachers.zoo.settings import TeacherSpec

ADAPTERS: dict[str, ZooAdapter] = {
    "open_clip": open_clip.ADAPTER,
    "transformers": transformers.ADAPTER,
    "pmc_clip": pmc_clip.ADAPTER,
    "medclip": medclip.ADAPTER,
}
LIBRARIES: dict[str, Callable[[TeacherSpec], Towers]] = {
    "open_clip": open_clip.from_spec,
    "transformers": transformers.from_spec,
}
CHECKS: dict[str, Callable[[TeacherSpec], int | None]] = {
    "open_clip": open_clip.check_spec,
    "transformers": transformers.check_spec,
}


def load_teacher(spec: TeacherSpec, device: torch.device, precision: str = "fp32") -> Teacher:
    """The teacher, frozen, in evaluation mode, on the device. Raises ModelError that says what is missing."""
    if spec.library == "zoo":
        entry = zoo_entry(spec.model, spec.variant)
        towers = load_entry(entry, spec.weights, spec.revision)
        teacher = Teacher(spec.name, spec.licence, towers, device, precision)
        if teacher.dim != entry.dim:
            raise ModelError(f"teacher {spec.name!r}: {teacher.dim} dimensions, but the zoo says {entry.dim}")
        return teacher
    if spec.library not in LIBRARIES:
        raise ModelError(f"teacher {spec.name!r} has stored features only (library {spec.library!r}); it cannot be run")
    return Teacher(spec.name, spec.licence, LIBRARIES[spec.library](spec), device, precision)


def load_entry(entry: ZooEntry, folder: Path | None = None, revision: str | None = None) -> Towers:
    """An entry of the zoo with its published weights, from the folder or where `find_weights` finds them."""
    adapter = ADAPTERS[str(entry.adapter)]
    files = find_weights(entry, folder, revision)
    words = find_tokenizer(entry, folder).folder if entry.text else None
    adapter.check(entry, files.folder)
    network = adapter.build(entry)
    tensors = LAYOUTS[entry.layout](adapter.read(entry, files.paths))
    load_strictly(network, tensors, f"teacher {entry.name!r}: {files.paths[0]}")
    return wired(entry, network, adapter.tokenizer(entry, words), files_digest(files), files.revision)


def wired(
    entry: ZooEntry, network: nn.Module, tokenizer: CaptionTokenizer, weights: str = "", revision: str = ""
) -> Towers:
    """An entry's network, whatever weights it has, with the entry's way through it."""
    adapter = ADAPTERS[str(entry.adapter)]
    return Towers(
        network=network,
        encode_image=lambda image: adapter.image(network, image),
        encode_text=lambda ids, length: adapter.text(network, ids, length),
        patches=partial(adapter.patches, network),
        transform=adapter.transform(entry),
        tokenizer=tokenizer,
        weights=weights,
        revision=revision,
    )


def check_files(spec: TeacherSpec) -> int | None:
    """Find what the teacher is loaded from, fetch it where a hub has it, and look at configs and headers only.

    Returns its dimension, where its config says it. Raises ModelError that says what is missing or damaged.
    """
    if spec.library == "zoo":
        entry = zoo_entry(spec.model, spec.variant)
        files = find_weights(entry, spec.weights, spec.revision)
        if entry.text:
            find_tokenizer(entry, spec.weights)
        ADAPTERS[str(entry.adapter)].check(entry, files.folder)
        for path in files.paths:
            check_header(path)
        return entry.dim
    if spec.library not in CHECKS:
        raise ModelError(f"teacher {spec.name!r} has stored features only (library {spec.library!r}); it cannot be run")
    return CHECKS[spec.library](spec)
