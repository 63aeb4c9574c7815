"""Facts of teachers: the zoo's or a recipe's, listed without loading them, or loaded and tried.

Listing imports nothing heavy, so that it answers at once; checking imports torch.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd.errors import MmkdError, ModelError
from mmkd.teachers.files.locate import find_weights, places
from mmkd.teachers.zoo.entry import ZooEntry, zoo, zoo_entry
from mmkd.teachers.zoo.licences import use_of
from mmkd.teachers.zoo.settings import LOCAL, REFERENCE, ZOO, TeacherSpec

if TYPE_CHECKING:
    import torch

    from mmkd.teachers.encoders.teacher import Teacher

HUB = "hf-hub:"
CAPTIONS = ("a chest radiograph", "a histopathology slide stained with H&E")
SAME = 1e-6  # vectors that differ by less in every component are taken for the same


@dataclass(frozen=True)
class Listing:
    """One teacher. status: usable, refused or unsupported. use: what its licence allows. found: where its weights are
    on this machine, "" where they are not. places: where they are looked for. reason: of a status other than usable.
    """

    name: str
    title: str
    status: str
    dim: int | None
    licence: str
    use: str
    gated: str = "no"
    needs: list[str] = field(default_factory=list)
    variants: list[str] = field(default_factory=list)
    found: str = ""
    places: list[str] = field(default_factory=list)
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def list_entries(entries: Iterable[ZooEntry]) -> list[Listing]:
    return [_of_entry(entry, None, None) for entry in entries]


def list_specs(specs: Iterable[TeacherSpec]) -> list[Listing]:
    return [_of_spec(spec) for spec in specs]


def _of_entry(entry: ZooEntry, folder: Path | None, revision: str | None) -> Listing:
    usable = entry.status == "usable"
    return Listing(
        name=entry.name,
        title=entry.title,
        status=entry.status,
        dim=entry.dim,
        licence=entry.licence,
        use=entry.use,
        gated=entry.gated,
        needs=list(entry.needs),
        variants=entry.variant_names,
        found=_found(entry, folder, revision) if usable else "",
        places=places(entry, folder) if usable else [],
        reason=entry.reason,
    )


def _found(entry: ZooEntry, folder: Path | None, revision: str | None) -> str:
    try:
        files = find_weights(entry, folder, revision, download=False)
    except ModelError:
        return ""
    return f"the hub's cache, commit {files.revision[:12]}" if files.revision else str(files.folder)


def _of_spec(spec: TeacherSpec) -> Listing:
    if spec.library == ZOO:
        entry = zoo()[spec.model].variant(spec.variant)
        known = asdict(_of_entry(entry, spec.weights, spec.revision))
        chosen = [spec.variant] if spec.variant else known["variants"]
        return Listing(**known | {"name": spec.name, "licence": spec.licence, "variants": chosen, "use": use_of(spec)})
    place, config = spec.model, ""
    if spec.library == REFERENCE:
        config = "meta.jsonl"
    elif spec.model.startswith(LOCAL):
        place, config = spec.model.removeprefix(LOCAL), "open_clip_config.json"
    elif spec.library == "transformers" and Path(spec.model).is_dir():
        config = "config.json"
    elif spec.model.startswith(HUB) or spec.library == "transformers":
        place = f"hf.co/{spec.model.removeprefix(HUB)}"
    elif spec.pretrained:
        place = f"{spec.model}, {spec.pretrained}"
    here = bool(config) and (Path(place) / config).is_file()
    return Listing(
        name=spec.name,
        title=f"{spec.library}: {spec.model}",
        status="usable",
        dim=_embed_dim(Path(place) / config) if here and config == "open_clip_config.json" else None,
        licence=spec.licence,
        use=use_of(spec),
        found=place if here else "",
        places=[place],
    )


def _embed_dim(config: Path) -> int | None:
    try:
        return int(json.loads(config.read_text())["model_cfg"]["embed_dim"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # loading will say what is wrong with it


def check(spec: TeacherSpec, device: "torch.device") -> dict[str, Any]:
    """Load a teacher and try it; the row has an `error` where it does not load or fails.

    weights: SHA-256 of its files, "" for what a library holds. revision: their commit, "" in a folder. patches: whether
    it gives features of patches. Teachers that are not run, whose features are stored, are looked for in the records.
    """
    row: dict[str, Any] = {"name": spec.name, "library": spec.library, "licence": spec.licence}
    try:
        row["use"] = use_of(spec)
        if spec.library == REFERENCE:
            return row | {"self_test": _stored(spec)}
        from mmkd.teachers.load import load_teacher

        teacher = load_teacher(spec, device)
    except MmkdError as error:
        return row | {"error": str(error)}
    row |= {
        "dim": teacher.dim,
        "parameters": sum(p.numel() for p in teacher.towers.network.parameters()),
        "revision": teacher.towers.revision,
        "weights": teacher.towers.weights,
    }
    if spec.library == ZOO:
        row["found"] = _found(zoo_entry(spec.model, spec.variant), spec.weights, spec.revision)
    row["patches"] = _patches(teacher)
    problems = self_test(teacher)
    return row | ({"error": f"self-test failed: {'; '.join(problems)}"} if problems else {"self_test": "passed"})


def _stored(spec: TeacherSpec) -> str:
    from mmkd.features.from_reference import records

    having = sum(spec.name in record["available_clips"] for record in records(Path(spec.model)))
    if not having:
        raise ModelError(f"{spec.model}: no record has features of {spec.name!r}; check the teacher's name")
    return f"not run: {having:,} records have its stored features"


def _patches(teacher: "Teacher") -> str:
    """Whether it gives features of patches, on the smallest grid, in words."""
    try:
        return f"a map of {teacher.patch_width(2):,} channels"
    except ModelError as error:
        return f"none: {error}"


def self_test(teacher: "Teacher") -> list[str]:
    """Embed two images and two captions; what is wrong with the vectors: not finite, not of norm 1, the same."""
    import torch
    from PIL import Image

    grey = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    images = [grey, grey.transpose(Image.Transpose.ROTATE_180)]
    image_2D = teacher.encode_images(torch.stack([teacher.transform.pixels(image) for image in images]))
    text_2D = teacher.encode_texts(CAPTIONS)
    problems = [*_wrong(image_2D, "image"), *_wrong(text_2D, "caption")]
    if image_2D.shape != text_2D.shape:
        problems.append(f"images have {image_2D.shape[1]} dimensions and captions {text_2D.shape[1]}")
    return problems


def _wrong(vector_2D: "torch.Tensor", what: str) -> Sequence[str]:
    if not vector_2D.isfinite().all():
        return [f"{what} vectors are not finite"]
    norm_2 = vector_2D.norm(dim=1)
    if (norm_2 - 1).abs().max() > 1e-3:
        return [f"{what} vectors have norms {norm_2[0]:.4g} and {norm_2[1]:.4g} instead of 1"]
    if (vector_2D[0] - vector_2D[1]).abs().max() < SAME:
        return [f"two different {what}s have the same vector"]
    return []
