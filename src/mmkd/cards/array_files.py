"""Arrays inside files, read piece by piece: NumPy archives and HDF5. Each is opened once in a process."""

import os
import shutil
import struct
import tempfile
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from mmkd.errors import DataError, MmkdError
from mmkd.folders.regular import irregular

LOCAL_HEADER_BYTES = 30  # of a zip member; the lengths of the name and the extra field behind it are its last four
CHUNK_CACHE_BYTES = 64 * 2**20  # HDF5 unpacks a whole chunk for each picture in it, unless it still has it
MOST_LINKS = 64  # and levels of groups on the way to an array
FACTOR = 1100  # deflate packs at most 1,032 bytes into one; what claims more than this was never written
_OPENING = Lock()  # threads that want the same array wait for one opening of it


def array_names(path: Path) -> list[str]:
    """The arrays of an `.npz`. Raises DataError when it is missing or damaged."""
    with explained(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def array_in(path: Path, name: str) -> Any:
    """An array of an `.npz`, memory-mapped, or else of an HDF5 file: it has `shape` and `dtype`, and indexing reads it.

    Raises DataError when the file or the array is missing or damaged.
    """
    with _OPENING:
        return _opened(path, name)


@lru_cache(maxsize=16)
def _opened(path: Path, name: str) -> Any:
    with explained(path):
        return _in_archive(path, f"{name}.npy") if path.suffix.lower() == ".npz" else _in_hdf5(path, name)


@contextmanager
def explained(path: Path, cure: str = "get the file again") -> Iterator[None]:
    """Raises DataError for whatever libraries raise that read this file."""
    if not os.path.isfile(path):  # Path.is_file() raises for names that are too long
        kind = irregular(path)
        raise DataError(f"{path}: {kind}; expected a file" if kind else f"no file {path}; check the path in the card")
    try:
        yield
    except MmkdError:
        raise
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}; check the names in the card") from error
    except Exception as error:  # of a damaged file they raise whatever they stumble on
        raise DataError(f"{path}: not readable ({type(error).__name__}: {error}); {cure}") from error


def _in_archive(path: Path, member: str) -> Any:
    """Compressed members are unpacked into a nameless temporary file: the largest sets do not fit into memory."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
        if info.compress_type == zipfile.ZIP_STORED:
            with path.open("rb") as stream:
                stream.seek(info.header_offset)
                header = stream.read(LOCAL_HEADER_BYTES)
                stream.seek(sum(struct.unpack("<HH", header[-4:])), 1)
                return _mapped(stream)
        with tempfile.TemporaryFile() as unpacked:
            with archive.open(member) as packed:
                shutil.copyfileobj(packed, unpacked, 2**20)
            unpacked.seek(0)
            return _mapped(unpacked)


def _mapped(stream: BinaryIO) -> Any:
    """The `.npy` that starts where the stream stands; the mapping outlives the stream."""
    shape, fortran, dtype = npy_header(stream)
    return np.memmap(stream, dtype, "r", stream.tell(), shape, "F" if fortran else "C")


def npy_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type of the `.npy` that starts where the stream stands.

    Raises ValueError for what is none, or holds Python objects.
    """
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:
        raise ValueError(f".npy of version {version}")
    try:
        shape, fortran, dtype = readers[version](stream)
    except (tokenize.TokenError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"its header is damaged ({error})") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, expected numbers")
    return shape, fortran, dtype


def _in_hdf5(path: Path, name: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise DataError(f"{path}: HDF5 is read with h5py; install mmkd with its extra [wsi]") from error
    file = h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES)
    return own_array(file, name, path)


def own_array(group: Any, name: str, path: Path) -> Any:
    """The data set of that name in an open HDF5 file, whose numbers lie in that file.

    HDF5 can take them from any other file that the process may read: such links, storage and virtual data sets are not
    followed. Raises DataError for them, KeyError when there is no such data set.
    """
    import h5py

    whole = name
    for _ in range(MOST_LINKS):
        first, _, rest = name.strip("/").partition("/")
        link = group.get(first, getlink=True) if first else None
        if isinstance(link, h5py.ExternalLink):
            raise DataError(f"{path}: {whole!r} is a link to the file {link.filename!r}; copy the array into this file")
        if isinstance(link, h5py.SoftLink):
            group = group.file if link.path.startswith("/") else group
            name = f"{link.path}/{rest}" if rest else link.path
            continue
        found = group[first] if link is not None else None
        if rest and isinstance(found, h5py.Group):
            group, name = found, rest
            continue
        if rest or not isinstance(found, h5py.Dataset):
            raise KeyError(f"no array {whole!r}, found {', '.join(group.file)}")
        return _of_this_file(found, whole, path)
    raise DataError(f"{path}: {whole!r} is behind more than {MOST_LINKS} links; copy the array to where it is expected")


def _of_this_file(array: Any, name: str, path: Path) -> Any:
    if array.external:
        raise DataError(
            f"{path}: the values of {name!r} lie in {array.external[0][0]!r}; copy the array into this file"
        )
    if array.is_virtual:
        raise DataError(
            f"{path}: {name!r} is a virtual data set, made of other files' values; copy the array into this file"
        )
    if array.nbytes > 2**20 + FACTOR * array.id.get_storage_size():
        raise DataError(
            f"{path}: {name!r} claims {array.nbytes:,} bytes, but {array.id.get_storage_size():,} are stored; "
            "the file is damaged or was never finished: make it again"
        )
    return array
