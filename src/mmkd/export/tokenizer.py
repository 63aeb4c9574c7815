"""A student's tokenizer as files that other tools read: CLIP's own BPE is only in open_clip's program."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip

from mmkd.teachers.files.open_clip_folder import OpenClipModel

START, END = "<|startoftext|>", "<|endoftext|>"  # as OpenAI's files name them


@dataclass(frozen=True)
class Tokenizer:
    """files: a tokenizer of transformers. clean: what open_clip does to a text before. padding: the id that it fills
    up with. literal: names of special tokens in a text are text. end: the id that ends a text, None where unknown."""

    files: Any
    clean: str
    padding: int
    literal: bool
    end: int | None


def tokenizer_of(model: OpenClipModel) -> Tokenizer:
    """Raises ValueError with the reason where no file can describe what it does."""
    own: Any = model.tokenizer
    text = model.config["text_cfg"]
    settings = dict(text.get("tokenizer_kwargs") or {})
    if text.get("tokenizer_mode") or settings.get("strip_sep_token") or settings.get("reduction_mask"):
        raise ValueError("its tokenizer changes the ids afterwards (tokenizer_mode, strip_sep_token, reduction_mask)")
    if isinstance(own, open_clip.SimpleTokenizer):
        if settings.get("additional_special_tokens"):
            raise ValueError("its tokenizer has special tokens of its own")
        return Tokenizer(_clip(own), settings.get("clean", "lower"), 0, True, own.eot_token_id)
    files = own.tokenizer
    if not getattr(files, "is_fast", False):
        raise ValueError(f"its tokenizer ({type(files).__name__}) has no tokenizer.json")
    files.model_max_length = own.context_length
    files.model_input_names = ["input_ids", "attention_mask"]
    end = files.eos_token_id if files.eos_token_id is not None else files.sep_token_id
    return Tokenizer(files, settings.get("clean", "whitespace"), int(files.pad_token_id), False, end)


def _clip(own: Any) -> Any:
    """CLIP's BPE from open_clip's vocabulary, its special tokens under OpenAI's names."""
    from transformers import CLIPTokenizer

    names = {own.sot_token_id: START, own.eot_token_id: END}
    vocabulary = {names.get(number, piece): number for piece, number in own.encoder.items()}
    merges = sorted(own.bpe_ranks, key=own.bpe_ranks.__getitem__)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=own.context_length)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """`tokenizer.json` and `tokenizer_config.json`, without a trace of where it was made."""
    files = tokenizer.files
    for name in ("is_local", "local_files_only", "name_or_path"):
        files.init_kwargs.pop(name, None)
    files.backend_tokenizer.no_truncation()
    files.backend_tokenizer.no_padding()
    folder.mkdir(parents=True, exist_ok=True)
    files.save_pretrained(folder)
