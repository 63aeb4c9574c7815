"""The stage `world`: write the embedded world as ordinary image files, tables and data-set cards.

pairs/NAME/{images/, pairs.csv}   classify/MODALITY/{test/, card.toml}   retrieval/   tokenizers/NAME/
"""

import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mmkd.corpus.taxonomy import MODALITIES
from mmkd.errors import ConfigError
from mmkd.phantom.difficulty import Difficulty
from mmkd.phantom.settings import PhantomSettings
from mmkd.phantom.tokenizer import write_tokenizer
from mmkd.phantom.writers import slug, write_classification, write_pairs, write_retrieval
from mmkd.processes import worker_pool
from mmkd.progress import track
from mmkd.settings import Machine

RETRIEVAL = "retrieval"


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
    difficulty = Difficulty(settings.findings, settings.contrast, settings.noise)
    for name, pairs in settings.pairs.items():
        yield partial(
            write_pairs,
            folder / "pairs" / name,
            modalities=pairs.modalities,
            count=pairs.count,
            seed=seed,
            purpose=name,
            wrong_captions=pairs.wrong_captions,
            size=settings.size,
            swapped=pairs.swapped,
            difficulty=difficulty,
        )
    for modality in MODALITIES:
        yield partial(
            write_classification,
            folder / "classify" / slug(modality),
            modality=modality,
            per_class=settings.per_class,
            seed=seed,
            size=settings.size,
            difficulty=difficulty,
        )
    yield partial(
        write_retrieval,
        folder / RETRIEVAL,
        modalities=MODALITIES,
        count=settings.retrieval,
        seed=seed,
        size=settings.size,
        difficulty=difficulty,
    )


def _captions(folder: Path) -> list[str]:
    with (folder / "pairs.csv").open(newline="", encoding="utf-8") as stream:
        return [row["caption"] for row in csv.DictReader(stream)]
