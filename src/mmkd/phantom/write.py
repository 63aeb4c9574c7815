"""The stage `world`: write the embedded world as ordinary image files, tables and data-set cards.

pairs/NAME/{images/, pairs.csv}   classify/MODALITY/{test/, card.toml}   retrieval/   tokenizers/NAME/
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmkd.errors import ConfigError
from mmkd.modalities.taxonomy import MODALITIES
from mmkd.phantom.sampling import TRAITS, World, draw_pixels, draw_sample, prompts
from mmkd.phantom.settings import PhantomSettings
from mmkd.phantom.table import DEFAULT, Difficulty, Modality, modality_in, modality_named
from mmkd.processes import worker_pool
from mmkd.progress import track
from mmkd.randomness import generator
from mmkd.settings import Machine

COLUMNS = ("id", "image", "caption", "modality", "group")
RETRIEVAL = "retrieval"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_pairs(folder: Path, world: World, count: int) -> None:
    """Write `images/NNNNN.png` and `pairs.csv`; the purpose of the world opens every id and group."""
    for name in [*world.modalities, *world.swapped]:
        modality_named(name)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for index in range(count):
            sample = draw_sample(world, index)
            image = f"images/{index:05d}.png"
            _write_png(folder / image, sample.pixels)
            table.writerow((f"{world.purpose}_{index:05d}", image, sample.caption, sample.modality, sample.group))


def write_classification(
    folder: Path, modality: str, per_class: int, seed: int, size: int = 32, difficulty: Difficulty = DEFAULT
) -> None:
    """Write `test/<class>/NNN.png` for each finding of the modality, and the data-set card that names the classes."""
    described = modality_in(modality, difficulty)
    for finding in described.findings:
        class_folder = folder / "test" / slug(finding.name)
        class_folder.mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            rng = generator(seed, "classification", modality, finding.name, index)
            anatomy = rng.uniform(-1, 1, TRAITS).astype(np.float32)
            _write_png(class_folder / f"{index:03d}.png", draw_pixels(finding, size, rng, anatomy, difficulty.noise))
    (folder / "card.toml").write_text(_classification_card(described), encoding="utf-8")


def write_retrieval(folder: Path, world: World, count: int) -> None:
    """Write held-out pairs, in the layout of `write_pairs`, and their data-set card."""
    write_pairs(folder, world, count)
    card = [*_card_head("phantom_retrieval", "mixed", "retrieval"), 'reader = "table"', 'path = "pairs.csv"']
    (folder / "card.toml").write_text("\n".join(card) + "\n", encoding="utf-8")


def slug(words: str) -> str:
    """The words as a folder name or identifier: lower case, joined by underscores."""
    return "_".join(words.lower().replace("-", " ").split())


def _classification_card(modality: Modality) -> str:
    lines = [*_card_head(f"phantom_{slug(modality.id)}", modality.id, "zero_shot")]
    lines += ['reader = "folders"', 'path = "test"']
    for finding in modality.findings:
        lines += ["[[classes]]", f'name = "{finding.name}"', f'folder = "{slug(finding.name)}"']
        lines.append(
            f"prompts = {json.dumps(prompts(modality, finding))}"
        )  # a JSON list of strings is a TOML array too
    return "\n".join(lines) + "\n"


def _card_head(name: str, modality: str, task: str) -> list[str]:
    return [f'id = "{name}"', f'modality = "{modality}"', f'tasks = ["{task}"]', 'licence = "Apache-2.0"', "[layout]"]


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(path, format="PNG", compress_level=1)


def write_world(settings: PhantomSettings, folder: Path, machine: Machine, seed: int) -> dict[str, int]:
    """Body of the stage; equal settings and seeds give equal bytes, so a cut-off world is simply written again."""
    jobs = list(_jobs(settings, folder, seed))
    try:
        if workers := min(machine.processes, len(jobs)):
            with worker_pool(workers) as pool:
                waiting = [pool.submit(job) for job in jobs]
                for done in track(waiting, "world", len(jobs), "folders"):
                    done.result()
        else:
            for job in track(jobs, "world", len(jobs), "folders"):
                job()
    except ValueError as error:
        raise ConfigError(f"[phantom]: {error}") from error
    captions = {name: _captions(folder / "pairs" / name) for name in settings.pairs}
    for name, tokenizer in settings.tokenizers.items():
        if strangers := sorted(set(tokenizer.pairs) - set(captions)):
            raise ConfigError(f"[phantom.tokenizers.{name}]: no pairs {strangers}; there are {', '.join(captions)}")
        read = [caption for pairs in tokenizer.pairs or captions for caption in captions[pairs]]
        write_tokenizer(folder / "tokenizers" / name, read, tokenizer.vocab_size, tokenizer.lowercase)
    pairs = sum(len(found) for found in captions.values())
    return {"pairs": pairs, "test_sets": len(MODALITIES) + 1, "tokenizers": len(settings.tokenizers)}


def _jobs(settings: PhantomSettings, folder: Path, seed: int) -> Iterator[Callable[[], None]]:
    if RETRIEVAL in settings.pairs:
        raise ConfigError(f"[phantom.pairs.{RETRIEVAL}]: this name is the held-out set's; its images would be shared")
    size, difficulty = settings.size, Difficulty(settings.findings, settings.contrast, settings.noise)
    for name, pairs in settings.pairs.items():
        drawn = tuple(pairs.modalities), seed, name, pairs.wrong_captions, size, tuple(pairs.swapped), difficulty
        yield partial(write_pairs, folder / "pairs" / name, World(*drawn), pairs.count)
    for modality in MODALITIES:
        home = folder / "classify" / slug(modality)
        yield partial(write_classification, home, modality, settings.per_class, seed, size, difficulty)
    held_out = World(tuple(MODALITIES), seed, RETRIEVAL, size=size, difficulty=difficulty)
    yield partial(write_retrieval, folder / RETRIEVAL, held_out, settings.retrieval)


def _captions(folder: Path) -> list[str]:
    with (folder / "pairs.csv").open(newline="", encoding="utf-8") as stream:
        return [row["caption"] for row in csv.DictReader(stream)]


def write_tokenizer(folder: Path, captions: Iterable[str], vocab_size: int, lowercase: bool) -> None:
    """Make a vocabulary of the captions' letters and commonest words, and save the tokenizer to `folder`.

    `AutoTokenizer.from_pretrained` reads it without a network. A text becomes [CLS] words [SEP], padded with [PAD] = 0:
    open_clip's `pool_type = "first"` reads [CLS], and `pool_type = "eos"` with `eos_id = 3` reads [SEP]. Rare words
    fall apart into letters. At most `vocab_size` entries, fewer where the words run out; equal captions give equal
    bytes, which the trainers of `tokenizers` do not. Raises ValueError when not even the letters fit.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word
        for caption, times in Counter(captions).items()
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(caption))
        for _ in range(times)
    )
    tokenizer = Tokenizer(models.WordPiece(_vocabulary(words, vocab_size), unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece()
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    folder.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(folder)


def _vocabulary(words: Counter[str], vocab_size: int) -> dict[str, int]:
    letters = sorted({letter for word in words for letter in word})
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    if len(pieces) > vocab_size:
        raise ValueError(f"vocab_size {vocab_size} is too small: marks and letters alone are {len(pieces)}")
    by_frequency = sorted(words, key=lambda word: (-words[word], word))
    pieces += [word for word in by_frequency if word not in set(pieces)][: vocab_size - len(pieces)]
    return {piece: number for number, piece in enumerate(pieces)}
