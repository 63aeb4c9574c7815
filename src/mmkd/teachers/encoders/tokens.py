"""Captions as token ids, and the batches in which a text tower may see them.

Letters: N captions, B of a batch, L tokens at most (the context length).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import open_clip
import torch
from torch import Tensor

from mmkd.errors import ModelError
from mmkd.folders.digests import json_digest
from mmkd.teachers.files.open_clip_folder import check_pads

Padding = Literal["longest", "full", "none"]


@dataclass(frozen=True)
class Tokens:
    """ids_NL: int32, padded to the context length. length_N: how many of them are tokens of the caption."""

    ids_NL: Tensor
    length_N: Tensor

    def __len__(self) -> int:
        return len(self.length_N)


@dataclass(frozen=True)
class CaptionTokenizer:
    """A tokenizer with what its text tower makes of padding.

    encode: captions -> Tokens, cut to the context length. key: equal for tokenizers that give equal ids.
    padding: `longest` where padding changes nothing (masked or causal towers), so that batches are cut to their own
    longest caption; `full` where the tower was trained to see captions padded to the context length; `none` where
    padding changes the vector and the tower wants captions without.
    """

    encode: Callable[[Sequence[str]], Tokens]
    key: str
    padding: Padding

    def __call__(self, captions: Sequence[str]) -> Tokens:
        return self.encode(list(captions))


def open_clip_tokenizer(tokenizer: Any, padding: Padding) -> CaptionTokenizer:
    """open_clip's own tokenizers: CLIP's BPE, or a Hugging Face one behind open_clip's cleaning of the text."""
    inner = getattr(tokenizer, "tokenizer", None)
    pad, end = (inner.pad_token_id, inner.eos_token_id) if inner is not None else (0, tokenizer.eot_token_id)
    settings = {
        name: getattr(value, "__qualname__", value)
        for name, value in vars(tokenizer).items()
        if name in ("context_length", "clean_fn", "strip_sep_token", "tokenizer_mode", "reduction_fn", "vocab_size")
    }
    vocabulary = _vocabulary(inner) if inner is not None else tokenizer.encode("the retina: 2 mm")

    def encode(captions: Sequence[str]) -> Tokens:
        ids_NL = tokenizer(list(captions))
        return Tokens(ids_NL.int(), _length(ids_NL, pad, end))

    return CaptionTokenizer(encode, f"{type(tokenizer).__name__} {settings} {vocabulary}", padding)


def transformers_tokenizer(
    tokenizer: Any, context_length: int, padding: Padding, clean: Callable[[str], str] | None = None
) -> CaptionTokenizer:
    """A Hugging Face tokenizer; `clean` prepares each caption first.

    Raises ModelError for one that cannot pad, or pads on the left where padding is to be cut off on the right.
    """
    check_pads(tokenizer)
    if padding != "full" and tokenizer.padding_side != "right":
        raise ModelError(f"{type(tokenizer).__name__} pads on the {tokenizer.padding_side}; its padding must be 'full'")

    def encode(captions: Sequence[str]) -> Tokens:
        texts = [clean(caption) for caption in captions] if clean else list(captions)
        tokens = tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=context_length,
            return_tensors="pt",
            return_attention_mask=True,
        )
        return Tokens(tokens["input_ids"].int(), tokens["attention_mask"].sum(dim=1))

    return CaptionTokenizer(encode, f"{_vocabulary(tokenizer)} {context_length} {clean}", padding)


def clip_tokenizer(context_length: int = 77) -> CaptionTokenizer:
    """CLIP's BPE as OpenAI's models want it: lower case, cut so that the end-of-text token stays."""
    return open_clip_tokenizer(open_clip.SimpleTokenizer(context_length=context_length), "longest")


def text_batches(tokens: Tokens, padding: Padding, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(index_B, ids_BL, length_B) of captions of similar length, each batch as wide as `padding` says.

    A batch holds about as many tokens as `size` captions of the full length: short captions go in larger batches.
    """
    order_N = torch.argsort(tokens.length_N, stable=True)
    context = tokens.ids_NL.shape[1]
    start = 0
    while start < len(order_N):
        shortest = int(tokens.length_N[order_N[start]])
        room = size if padding == "full" else min(4 * size, size * context // max(1, shortest))
        index_B = order_N[start : start + room]
        length_B = tokens.length_N[index_B]
        if padding == "none":
            index_B, length_B = index_B[length_B == shortest], length_B[length_B == shortest]
        width = context if padding == "full" else int(length_B[-1])
        yield index_B, tokens.ids_NL[index_B, :width].long(), length_B
        start += len(index_B)


def distinct(parts: Sequence[Tokens]) -> tuple[Tokens, Tensor]:
    """The different ones among the captions of several batches, and which of them each caption is (N,)."""
    ids_NL, length_N = torch.cat([part.ids_NL for part in parts]), torch.cat([part.length_N for part in parts])
    keyed_NL = torch.cat([length_N[:, None].int(), ids_NL], dim=1)
    different_UL, index_N = torch.unique(keyed_NL, dim=0, return_inverse=True)
    return Tokens(different_UL[:, 1:], different_UL[:, 0].long()), index_N


def mask(length_B: Tensor, width: int) -> Tensor:
    """(B, L) with 1 where a token is, 0 where padding is."""
    return (torch.arange(width, device=length_B.device)[None, :] < length_B[:, None]).long()


def _length(ids_NL: Tensor, pad: int, end: int | None) -> Tensor:
    """Up to the last id that is not padding: padding comes last, and a caption ends in a token that is none.

    Where padding has the id of the end-of-text token, as in CLIP's own files, the first of them is the caption's.
    """
    position_L = torch.arange(1, ids_NL.shape[1] + 1)
    last_N = ((ids_NL != pad) * position_L).amax(dim=1)
    return (last_N + 1).clamp(max=ids_NL.shape[1]) if pad == end else last_N


def _vocabulary(tokenizer: Any) -> str:
    """A digest of all that a Hugging Face tokenizer does; slow ones are known by their object alone."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return f"{type(tokenizer).__name__} {id(tokenizer)}"
    described = json.loads(backend.to_str())
    described |= {"truncation": None, "padding": None}  # whatever the call before asked for
    outside = [tokenizer.pad_token_id, tokenizer.padding_side, tokenizer.truncation_side]
    return json_digest([described, outside])
