"""What a teacher is made of, as one digest of its files; nothing is loaded."""

from pathlib import Path

from mmkd.errors import ModelError
from mmkd.folders.digests import bytes_digest, remembered_digest
from mmkd.folders.stage import content_digest
from mmkd.teachers.files.locate import Files, find_weights
from mmkd.teachers.zoo.entry import zoo_entry
from mmkd.teachers.zoo.settings import LOCAL, TeacherSpec

WEIGHTS_PATTERNS = ("*.safetensors", "*.bin", "*.pth")
OPEN_CLIP = ("open_clip_config.json", "open_clip_*.safetensors", "open_clip_*.bin")
TOKENIZER = ("tokenizer*.json", "special_tokens_map.json", "vocab.*", "merges.txt", "bert/*.json")


def identity(spec: TeacherSpec, download: bool = True) -> str:
    """A digest of the files that make the teacher, wherever they lie; "" for what a hub or a library holds.

    download: a teacher of the zoo that is not here yet is fetched. Raises ModelError when the files of a teacher of the
    zoo, or the folder that the recipe names, are not there.
    """
    if spec.library == "zoo":
        entry = zoo_entry(spec.model, spec.variant)
        return files_digest(find_weights(entry, spec.weights, spec.revision, download))
    if spec.pretrained and Path(spec.pretrained).is_file():
        return file_digest(Path(spec.pretrained))
    folder = Path(spec.model.removeprefix(LOCAL))
    if spec.model.startswith(LOCAL) and not folder.is_dir():
        raise ModelError(f"teacher {spec.name!r}: no folder {folder}; check the path in the recipe")
    return folder_weights_digest(folder) if spec.library != "reference" and folder.is_dir() else ""


def files_digest(files: Files) -> str:
    """SHA-256 over the published files' own."""
    return bytes_digest("".join(file_digest(path) for path in files.paths).encode())


def folder_weights_digest(folder: Path) -> str:
    """SHA-256 of the weights in a folder; its config may name its place, and moves with it."""
    return content_digest(folder, WEIGHTS_PATTERNS, remember=True)


def model_digest(folder: Path) -> str:
    """SHA-256 of the files that decide the vectors of a model's folder: what lies beside them (forms for other tools, a
    classifier, a card) changes nothing."""
    own = (*OPEN_CLIP, *TOKENIZER) if (folder / OPEN_CLIP[0]).is_file() else ("*.json", *WEIGHTS_PATTERNS)
    return content_digest(folder, own, remember=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, which is read once only. Raises ModelError when it cannot be read."""
    try:
        return remembered_digest(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
