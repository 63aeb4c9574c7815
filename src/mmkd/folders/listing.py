"""Names of the files below a folder, in their order and without all of them in memory at once."""

import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmkd.errors import DataError
from mmkd.folders.regular import irregular, is_foreign


@dataclass(frozen=True, repr=False, slots=True)
class Names:
    """Names as a tuple would give them, in a few bytes each: sorted names differ little from one another."""

    packed: bytes

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Of file names, which hold no NUL."""
        return cls(zlib.compress("".join(f"{name}\0" for name in names).encode("utf-8", "surrogateescape"), 1))

    def __iter__(self) -> Iterator[str]:
        return iter(zlib.decompress(self.packed).decode("utf-8", "surrogateescape").split("\0")[:-1])

    def __len__(self) -> int:
        return zlib.decompress(self.packed).count(b"\0")

    def __repr__(self) -> str:
        """The names: cached shards are named by them, and no release of zlib may change that."""
        return repr(tuple(self))


NO_NAMES = Names.of(())


def files_in_order(folder: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Relative POSIX paths, sorted, of the files with these suffixes (in any case); nothing foreign, nor below it.

    At a time the names of one folder and of those above it are in memory. Links to folders are not followed. Raises
    DataError when the folder is missing or holds none.
    """
    _check_folder(folder)
    found = False
    for name in listed(folder, suffixes):
        found = True
        yield name
    if not found:
        raise DataError(f"{folder}: no file ending in {', '.join(suffixes)} found below it; correct the source's path")


def listed(folder: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """As `files_in_order`, nothing where there is nothing."""
    return _walk(os.fspath(folder), suffixes)


def files_by_folder(folder: Path) -> list[Names]:
    """The sorted relative POSIX paths of files that are not foreign, a folder's own together; folders by their path.

    Raises DataError as `files_in_order`.
    """
    _check_folder(folder)
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_foreign(name)]
        home = Path(parent).relative_to(folder).as_posix()
        if shown := sorted(name for name in names if not is_foreign(name)):
            found.append((home, Names.of(name if home == "." else f"{home}/{name}" for name in shown)))
    if not found:
        raise DataError(f"{folder}: no file found below it; correct the source's path")
    return [files for _, files in sorted(found, key=lambda one: "" if one[0] == "." else one[0])]


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        if kind := irregular(folder):
            raise DataError(f"{folder}: {kind}; correct the source's path")
        pattern = "*" in folder.name
        cure = "patterns are for tables and URLs; give the folder itself" if pattern else "correct the source's path"
        raise DataError(f"{folder}: no such folder; {cure}")


def _walk(root: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    waiting = [iter(_listed(root, "", suffixes))]
    while waiting:
        name = next(waiting[-1], None)
        if name is None:
            waiting.pop()
        elif name.endswith("/"):
            waiting.append(iter(_listed(root, name, suffixes)))
        else:
            yield name


def _listed(root: str, home: str, suffixes: tuple[str, ...]) -> list[str]:
    """Files and folders of `home`, "" or ending in a slash, by their paths below `root`; nothing where it cannot be
    read, as in os.walk. Paths of folders end in a slash: so sorted, they stand where what is in them belongs.
    """
    found = []
    try:
        with os.scandir(os.path.join(root, home)) as entries:
            for entry in entries:
                if is_foreign(entry.name):
                    continue
                if _is_folder(entry):
                    if not entry.is_symlink():
                        found.append(f"{home}{entry.name}/")
                elif entry.name.lower().endswith(suffixes):
                    found.append(home + entry.name)
    except OSError:
        return []
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
