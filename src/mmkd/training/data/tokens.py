"""Captions of the training pairs, each distinct one tokenised once, and which pairs have equal captions and pictures.

The first process writes them into files, which every process maps into memory from then on.

Letters: N training pairs, U distinct captions among them, L tokens of the longest one, B of a batch, C the context.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mmkd.corpus.schema import Corpus
from mmkd.distributed import ALONE, World
from mmkd.folders.atomic import atomic_file, write_json
from mmkd.folders.digests import bytes_digest
from mmkd.teachers.encoders.tokens import CaptionTokenizer, open_clip_tokenizer
from mmkd.teachers.files.open_clip_folder import Tokenizer

TOKENS = "tokens"  # a folder beside the checkpoints
AT_ONCE = 4096
IDS, LENGTHS, CODES, IMAGES, FACTS = "ids.npy", "lengths.npy", "captions.npy", "images.npy", "facts.json"


@dataclass(frozen=True)
class Captions:
    """token_UL: int32, padded to the longest. length_U: tokens of each, int32. code_N: which one each pair has, int64.
    image_code_N: equal numbers for equal pictures, int64.

    context: tokens that the text tower takes at most. pad: the id that fills the rest.
    """

    token_UL: np.ndarray
    length_U: np.ndarray
    code_N: np.ndarray
    image_code_N: np.ndarray
    context: int
    pad: int

    def at(self, code_B: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Token ids of some captions, int64 (B, C), and how many of each row are no padding (B,)."""
        longest = self.token_UL.shape[1]
        token_BC = torch.full((len(code_B), self.context), self.pad)
        token_BC[:, :longest] = torch.from_numpy(self.token_UL[code_B])
        return token_BC, np.asarray(self.length_U[code_B])


def tokenise(corpus: Corpus, rows: np.ndarray, tokenizer: Tokenizer, folder: Path, world: World = ALONE) -> Captions:
    """The captions of some rows of the corpus; rank 0 writes them into `folder`, unless they are there already.

    What is there counts only if it comes from an equal tokenizer, the same corpus and the same rows.
    """
    home, encode = folder / TOKENS, open_clip_tokenizer(tokenizer, "longest")
    made_from = {
        "tokenizer": encode.key,
        "corpus": corpus.digest,
        "rows": bytes_digest(np.ascontiguousarray(rows, dtype=np.int64).tobytes()),
        "columns": "caption, sha256",
    }
    if world.first and _facts(home).get("made_from") != made_from:
        _write(home, corpus, rows, encode, made_from)
    world.wait()
    facts = _facts(home)
    token_UL, length_U, code_N = (np.load(home / name, mmap_mode="r") for name in (IDS, LENGTHS, CODES))
    image_code_N = np.load(home / IMAGES, mmap_mode="r")
    return Captions(token_UL, length_U, code_N, image_code_N, facts["context"], facts["pad"])


def captions_done(folder: Path) -> None:
    """Take the tokens away that `tokenise` left in the folder."""
    rmtree(folder / TOKENS, ignore_errors=True)


def coded(corpus: Corpus, column: str, rows: np.ndarray) -> tuple[np.ndarray, pa.Array]:
    """A text column of some rows as numbers, equal ones for equal texts (int64), and the texts that they stand for."""
    texts = corpus.table.data.column(column).cast(pa.large_string())  # 64-bit offsets: a column may pass 2 GiB
    found = texts.combine_chunks().dictionary_encode()  # chunk by chunk each would hold the dictionary up to it
    used_U, code_N = np.unique(found.indices.to_numpy()[rows], return_inverse=True)
    return code_N, found.dictionary.take(used_U)


def _write(home: Path, corpus: Corpus, rows: np.ndarray, encode: CaptionTokenizer, made_from: dict[str, str]) -> None:
    (home / FACTS).unlink(missing_ok=True)
    home.mkdir(parents=True, exist_ok=True)
    code_N, captions = coded(corpus, "caption", rows)
    empty_1C = encode([""]).ids_NL
    context = empty_1C.shape[1]
    wide = home / "wide.npy"
    wide_UC = np.lib.format.open_memmap(wide, mode="w+", dtype=np.int32, shape=(len(captions), context))
    with wide.open("r+b") as stream:  # a full disk says so here, not by SIGBUS
        os.posix_fallocate(stream.fileno(), 0, wide.stat().st_size)
    length_U = np.zeros(len(captions), dtype=np.int32)
    for part in _parts(len(captions)):
        tokens = encode(captions[part].to_pylist())
        wide_UC[part], length_U[part] = tokens.ids_NL.numpy(), tokens.length_N.numpy()
    _save(home / IDS, wide_UC[:, : int(length_U.max())])
    del wide_UC
    wide.unlink()
    image_code_N, _ = coded(corpus, "sha256", rows)
    for name, values in ((LENGTHS, length_U), (CODES, code_N), (IMAGES, image_code_N)):
        _save(home / name, values)
    # written last: with it the folder is whole
    write_json(home / FACTS, {"made_from": made_from, "context": context, "pad": int(empty_1C[0, -1])})


def _save(path: Path, values: np.ndarray) -> None:
    """A .npy file, written a part at a time, so that no process holds all of it. Raises OSError on a full disk."""
    with atomic_file(path) as stream:
        header = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False, "shape": values.shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for part in _parts(len(values)):
            stream.write(np.ascontiguousarray(values[part]).tobytes())


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE))


def _facts(home: Path) -> dict[str, Any]:
    """What the folder says of itself; empty where it is not whole."""
    try:
        found: dict[str, Any] = json.loads((home / FACTS).read_text())
    except FileNotFoundError:
        return {}
    return found
