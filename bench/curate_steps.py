"""The steps of curation that need no picture, each timed by itself; and the memory of a tree of processes.

For `bench/curate.py`. Records are read once, and each step then goes through all of them.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmkd.corpus.schema import caption_group, split_of
from mmkd.curation.captions.clean import clean_caption
from mmkd.curation.captions.language import language_of
from mmkd.curation.captions.references import strip_references
from mmkd.curation.duplicates import find_duplicates
from mmkd.curation.facts.pairs import FigureText, known
from mmkd.curation.filters.decide import FIGURE_FILTERS, PAIR_FILTERS, check
from mmkd.curation.modality.votes import Vote, caption_vote, label_vote, weigh
from mmkd.curation.records.record import Record
from mmkd.curation.selection import COLUMNS, keys_of
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shards import PAIRS
from mmkd.curation.sources.kinds import open_source
from mmkd.images.hamming import Array
from mmkd.images.thumbnails import THUMBNAIL_PIXELS

MB = 1e6
PROC = Path("/proc")


def metadata_rates(settings: CurateSettings, most: int) -> dict[str, float]:
    """Step -> records a processor second in this process: a second, where nothing else runs and the disk keeps up.

    `all`: of all steps but reading, one after the other; `all and reading`: with it.
    """
    rates: dict[str, float] = {}
    records: list[Record] = []
    hash_rng = np.random.default_rng(0)  # hashes are the picture's, which is not opened here

    def timed(step: str, body: Callable[[], object]) -> None:
        start = time.process_time()
        body()
        rates[step] = len(records) / (time.process_time() - start)

    timed("read tar and JSON", lambda: records.extend(_records(settings, most)))
    captions: list[str] = []
    timed("clean captions", lambda: captions.extend(strip_references(clean_caption(str(r.caption))) for r in records))
    languages: list[str] = []
    timed("language", lambda: languages.extend(map(language_of, captions)))
    votes: list[Vote | None] = []
    timed("evidence of captions and labels", lambda: votes.extend(map(_vote, captions, records)))
    texts = [
        known(FigureText({"licence": one.licence}, caption, caption, "", one.labels, ""), language=language, vote=vote)
        for caption, one, language, vote in zip(captions, records, languages, votes, strict=True)
    ]

    def filtered() -> None:
        for one in texts:
            check(one, FIGURE_FILTERS, settings.filters)
            check(one.whole, PAIR_FILTERS, settings.filters)

    timed("filters on words", filtered)
    groups: list[int] = []
    timed("caption groups", lambda: groups.extend(map(caption_group, captions)))
    columns = {
        "id": [one.id for one in records],
        "caption": captions,
        "sha256": [f"{place:064x}" for place in range(len(records))],
        "phash": hash_rng.integers(0, 2**64, len(records), np.uint64, endpoint=False),
        "caption_group": np.array(groups, np.uint64),
    }
    table = pa.table(columns, schema=pa.schema([PAIRS.field(name) for name in COLUMNS]))
    keys = keys_of(table, True)
    timed("duplicate keys", lambda: keys_of(table, True))
    timed("duplicates", lambda: find_duplicates(keys, settings.duplicates, np.zeros(len(records), bool), _no_looks))
    timed("splits", lambda: [split_of(one.group, settings.val, 0) for one in records])
    alone = [rate for step, rate in rates.items() if step != "read tar and JSON"]
    whole = {"all": alone, "all and reading": rates.values()}
    return rates | {name: 1 / sum(1 / rate for rate in several) for name, several in whole.items()}


def _no_looks(place_S: Array) -> Array:
    """Of no picture, so of one level each."""
    return np.zeros((len(place_S), THUMBNAIL_PIXELS), np.uint8)


def tree_memory(root: int) -> tuple[float, float]:
    """MB of a process and all below it, pages that several hold counted once: all, and without pages of files.

    Pages of files (libraries, shards that are mapped) are given back to the system when it needs them.
    """
    found = [_memory(process) for process in _tree(root)]
    return sum(whole for whole, _ in found), sum(own for _, own in found)


def _records(settings: CurateSettings, most: int) -> list[Record]:
    """Without their pictures, which would fill the memory."""
    found: list[Record] = []
    for shard in open_source(settings.sources[0]).shards():
        for one in shard.records():
            if isinstance(one, Record):
                caption = one.caption.decode() if isinstance(one.caption, bytes) else one.caption
                text = (one.modality, one.group, one.licence, one.source, one.where, one.labels, one.mention)
                found.append(Record(one.id, b"", caption, *text))
            if len(found) == most:
                return found
    return found


def _vote(caption: str, record: Record) -> Vote | None:
    vote = caption_vote(caption)
    weigh({"label": label_vote(record.labels), "caption": vote})
    return vote


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            fields = _text(int(entry.name), "stat").rpartition(")")[2].split()  # a name may hold blanks
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def _memory(process: int) -> tuple[float, float]:
    sizes = {"Pss": 0.0, "Pss_Anon": 0.0}
    for line in _text(process, "smaps_rollup").splitlines():
        name, _, value = line.partition(":")
        if name in sizes:
            sizes[name] = int(value.split()[0]) * 1024 / MB
    return sizes["Pss"], sizes["Pss_Anon"]


def _text(process: int, name: str) -> str:
    try:
        return (PROC / str(process) / name).read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has just ended, or is another user's
        return ""
