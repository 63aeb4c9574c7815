"""What another curation costs where the first cached its shards: with other filters, another size, one more tar.

For `bench/curate.py`. All in one process, one after the other, each as `mmkd curate --force` does it (stage, ledger and
digest), beside the first reading and one that keeps nothing.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmkd.settings import overlaid

CHANGED: dict[str, dict[str, Any]] = {  # one setting more each time; none of them is one of reading
    "other filters": {"filters": {"min_words": 5, "min_contrast": 3}},
    "and another min_side": {"min_side": 64},
}
FIRST, MORE, AT_ONCE = "first reading", "and one more tar", "that corpus at once, nothing cached"
Settings = Callable[[Path, Mapping[str, Any]], Any]
"""A folder of tars and what is changed -> CurateSettings."""


def again(archive: Path, settings_of: Settings, workers: int) -> list[dict[str, Any]]:
    """Each run's seconds, its share of the first reading's, and how many tars it read. archive: with all tars.

    Ends the program when the corpus that was made from cached shards is not the one made at once.
    """
    tars = sorted(archive.iterdir())
    fewer = archive.with_name(f"{archive.name}.again")
    fewer.mkdir()
    for tar in tars[:-1]:
        os.link(tar, fewer / tar.name)
    out = archive.with_name(f"{archive.name}.corpus")
    changes: dict[str, Any] = {"cache_shards": True}
    rows = [_timed(FIRST, settings_of(fewer, changes), out, workers)]
    for what, more in CHANGED.items():
        changes = overlaid(changes, more)
        rows.append(_timed(what, settings_of(fewer, changes), out, workers))
    os.link(tars[-1], fewer / tars[-1].name)
    rows.append(_timed(MORE, settings_of(fewer, changes), out, workers))
    at_once = settings_of(fewer, {**changes, "cache_shards": False})
    rows.append(_timed(AT_ONCE, at_once, out.with_name(f"{out.name}.at_once"), workers))
    if rows[-1].pop("digest") != rows[-2]["digest"]:
        raise SystemExit(f"{out}: not the corpus that is made at once")
    rows[-1]["tars_read"] = len(tars)
    for row in rows:
        row.pop("digest", None)
        row["of_first"] = row["wall_s"] / rows[0]["wall_s"]
    for folder in (fewer, out, out.with_name(f"{out.name}.cache"), out.with_name(f"{out.name}.at_once")):
        shutil.rmtree(folder)
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """In Markdown."""
    told = [
        f"| {row['what']} | {row['read']:,} | {row['tars_read']} | {row['wall_s']:.1f} | {row['of_first']:.1%} |"
        for row in rows
    ]
    return ["| with cached shards | records | tars read | s | of the first |", "|---|---:|---:|---:|---:|", *told]


def _timed(what: str, settings: Any, out: Path, workers: int) -> dict[str, Any]:
    from mmkd.curation.curate import corpus_stage, curate
    from mmkd.folders.stage import complete
    from mmkd.report.curation import write_ledger
    from mmkd.settings import Machine

    def make(folder: Path) -> dict[str, int]:
        counts = curate(settings, folder, Machine(workers=workers), 0)
        write_ledger(folder, "corpus")
        return counts

    kept = out.with_name(f"{out.name}.cache")
    before = set(kept.iterdir()) if kept.is_dir() else set()
    start = time.perf_counter()
    manifest = complete(corpus_stage(out, settings, settings.model_dump(mode="json"), 0), make, force=True)
    wall_s = time.perf_counter() - start
    read = len(set(kept.iterdir()) - before) if kept.is_dir() else 0
    counts = manifest["counts"]
    return {"what": what, "wall_s": wall_s, "tars_read": read, "read": counts["read"], "digest": manifest["digest"]}
