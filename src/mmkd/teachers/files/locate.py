"""Where a teacher's files are: a folder the user names, `$MMKD_TEACHERS/<name>`, or the Hugging Face hub's cache."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkd.errors import ModelError
from mmkd.output import announce_hub
from mmkd.teachers.zoo.entry import Source, ZooEntry

TEACHERS = "MMKD_TEACHERS"
TOKENIZER_FOLDER = "text"
# small files that say what the weights are: fetched with them where there are any, for the adapters' checks
DESCRIPTIONS = ("open_clip_config.json", "config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Files:
    """paths: the files of one of the source's sets, in its order. revision: their commit, "" in a folder."""

    paths: tuple[Path, ...]
    revision: str = ""

    @property
    def folder(self) -> Path:
        return self.paths[0].parent


def find_weights(entry: ZooEntry, folder: Path | None, revision: str | None = None, download: bool = True) -> Files:
    """The entry's weights. A folder that is named is the only place: nothing else stands in for what it lacks.

    download: what the hub's cache lacks is fetched. Raises ModelError that says where they were looked for and how
    they are had.
    """
    source = _source(entry, "weights")
    found = _in_folders(source, _folders(entry, folder))
    if found is None and folder is None:
        found, why = _on_the_hub(source, revision or source.revision, download)
    else:
        why = "a folder that is named is the only place"
    if found is None:
        raise ModelError(_missing_weights(entry, source, _folders(entry, folder), revision or source.revision, why))
    return found


def find_tokenizer(entry: ZooEntry, folder: Path | None) -> Files:
    """The entry's tokenizer files, in the folder's `text/`, in the folder itself, or in their own repository."""
    source = _source(entry, "text")
    bases = [*([folder] if folder else []), *_folders(entry, None)]
    folders = [place for base in bases for place in (base / TOKENIZER_FOLDER, base)]
    found = _in_folders(source, folders)
    if found is None:
        found, why = _on_the_hub(source, source.revision, download=True)
    if found is None:
        raise ModelError(_missing_tokenizer(entry, source, folders, why))
    return found


def places(entry: ZooEntry, folder: Path | None = None) -> list[str]:
    """Where weights would be looked for, in order, for people."""
    if entry.weights is None:
        return []
    if folder is not None:
        return [str(folder)]
    named = [str(base) for base in _folders(entry, None)] or [f"${TEACHERS}/{entry.name} (not set)"]
    return [*named, address(entry.weights)]


def address(source: Source) -> str:
    """Where the files are published."""
    kind = "datasets/" if source.repo_type == "dataset" else ""
    return f"hf.co/{kind}{source.repo}" if source.repo else source.url


def _source(entry: ZooEntry, kind: str) -> Source:
    source: Source | None = getattr(entry, kind)
    if source is None:
        raise ModelError(f"teacher {entry.name!r}: the zoo names no source of its {kind}; it is {entry.status}")
    return source


def _folders(entry: ZooEntry, folder: Path | None) -> list[Path]:
    if folder is not None:
        return [folder]
    base = os.environ.get(TEACHERS)
    return [Path(base) / entry.name] if base else []


def _in_folders(source: Source, folders: Sequence[Path]) -> Files | None:
    for folder in folders:
        for names in source.files:
            if all((folder / name).is_file() for name in names):
                return Files(tuple(folder / name for name in names))
    return None


def _on_the_hub(source: Source, revision: str, download: bool) -> tuple[Files | None, str]:
    """The files, or why there are none."""
    if not source.repo:
        return None, f"{source.url} is not fetched automatically"
    reasons = []
    for names in source.files:
        try:
            return (_fetched if download else _cached)(source, names, revision), ""
        except Exception as error:  # the hub's client raises errors of four libraries
            reasons.append(_reason(error, source, revision))
    return None, reasons[0]


def _fetched(source: Source, names: Sequence[str], revision: str) -> Files:
    from huggingface_hub import snapshot_download

    announce_hub(source.repo)
    snapshot = Path(
        snapshot_download(
            source.repo, repo_type=source.repo_type, revision=revision, allow_patterns=[*names, *DESCRIPTIONS]
        )
    )
    paths = tuple(snapshot / name for name in names)
    for name, path in zip(names, paths, strict=True):
        if not path.is_file():
            raise FileNotFoundError(f"no file {name} at revision {revision}")
    return Files(paths, snapshot.name)  # snapshots lie in folders named by their commit


def _cached(source: Source, names: Sequence[str], revision: str) -> Files:
    from huggingface_hub import try_to_load_from_cache

    paths = []
    for name in names:
        path = try_to_load_from_cache(source.repo, name, revision=revision, repo_type=source.repo_type)
        if not isinstance(path, str):
            raise FileNotFoundError(f"{name} is not in the hub's cache at revision {revision}")
        paths.append(Path(path))
    return Files(tuple(paths), paths[0].parents[names[0].count("/")].name)


def _reason(error: Exception, source: Source, revision: str) -> str:
    """What the hub's client means, in one line."""
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        why = "gated; accept its terms there and log in with 'hf auth login'"
    elif isinstance(error, RepositoryNotFoundError):
        why = "no access; it is gone or private ('hf auth login' logs in)"
    elif isinstance(error, LocalEntryNotFoundError):
        why = f"not in the hub's cache at revision {revision}, and the network is switched off or out of reach"
    else:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{address(source)}: {why}"


def _missing_weights(entry: ZooEntry, source: Source, folders: Sequence[Path], revision: str, why: str) -> str:
    fetch = f"fetch {source.url}"
    if source.repo:
        dataset = "--repo-type dataset " if source.repo_type == "dataset" else ""
        pinned = f" --revision {revision}" if revision != "main" else ""
        fetch = f"hf download {dataset}{source.repo} {' '.join(map(shlex.quote, source.files[0]))}{pinned}"
    terms = f" after accepting its terms at {address(source)}" if entry.gated == "yes" else ""
    return (
        f"teacher {entry.name!r}: weights not found ({_wanted(source)}). Looked in {_looked(folders)}; {why}. "
        f'To mend it: {fetch}{terms}, or put the files into a folder and name it as the teacher\'s weights = "FOLDER"'
    )


def _missing_tokenizer(entry: ZooEntry, source: Source, folders: Sequence[Path], why: str) -> str:
    fetch = (
        f"hf download {source.repo} {' '.join(map(shlex.quote, source.files[0]))}"
        if source.repo
        else f"fetch {source.url}"
    )
    return (
        f"teacher {entry.name!r}: tokenizer not found ({_wanted(source)}). Looked in {_looked(folders)}; {why}. "
        f"To mend it: {fetch}, or put the files into a folder {TOKENIZER_FOLDER!r} beside the weights"
    )


def _wanted(source: Source) -> str:
    return " or ".join(" + ".join(names) for names in source.files)


def _looked(folders: Sequence[Path]) -> str:
    return ", ".join(str(folder) for folder in folders) or f"no folder (${TEACHERS} is not set)"
