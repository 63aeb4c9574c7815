"""What curation costs at scale: records a second end to end and per step, peak memory, and how both grow.

    python bench/curate.py [--records 20000 60000 200000] [--workers 2] [--near drop] [--out FOLDER]

Writes bench/results/curate.json. A synthetic archive in BIOMEDICA's layout (`curate_archive.py`) is written once, at
the largest size; each size curates its first records in a fresh process, ledger and all, with every filter on and
every picture decoded. Lines are fitted through the times of all sizes. Memory is that of all processes together,
looked up every SAMPLE_S. Steps that need no picture are measured one by one (`curate_steps.py`), and so is what another
curation of the smallest size costs with cached shards (`curate_again.py`).
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from curate_again import again, table
from curate_archive import BYTES, POOL, SIDE, pool, prefix, tar_records, write_archive
from curate_steps import metadata_rates, tree_memory

from mmkd.folders.atomic import write_json
from mmkd.folders.stage import versions
from mmkd.progress import say
from mmkd.settings import overlaid

RESULT = Path(__file__).parent / "results" / "curate.json"
STEPS = {  # functions that `curation/curate.py` calls, in their order
    "filter_shards": "read and filter",
    "select": "select",
    "write_corpus": "write",
    "write_rejected_examples": "examples",
}
SHARED = "read and filter"  # among processes; the other steps are one process's
WHOLE, CORES = 24_000_000, 64
AIM_PER_S, AIM_METADATA_PER_S, AIM_MB = 300, 3_000, 3_000
SAMPLE_S = 0.2
METADATA_RECORDS = 20_000
ON_DISK = 3.5  # archive, filtered shards and corpus, in archives
SETTINGS: dict[str, Any] = {
    "modality": {"by": "evidence", "names": "fine"},
    "captions": {"references": "strip", "language": "tag"},
    "filters": {
        "licences": ["permissive", "share-alike", "non-commercial", "no derivatives"],
        "languages": ["en"],
        "min_words": 3,
        "max_words": 500,
        "content": True,
        "nonclinical": ["labels", "caption", "image"],
        "max_aspect": 4,
        "min_contrast": 2,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[20_000, 60_000, 200_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--near", choices=("keep", "pair", "drop"), default="drop", help="near duplicates")
    parser.add_argument("--out", type=Path, help="an emptied folder is made in it [default: the temporary one]")
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--metadata", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--again", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        print(json.dumps(curate_once(asked.once, asked.out, asked.workers, asked.near)))
    elif asked.metadata:
        print(json.dumps(metadata_rates(settings_for(asked.metadata, near=asked.near), METADATA_RECORDS)))
    elif asked.again:
        print(json.dumps(again(asked.again, partial(settings_for, near=asked.near), asked.workers)))
    elif len(set(asked.records)) < 3:
        parser.error("--records: at least three sizes; any two lie on a line")
    else:
        measure_all(sorted(set(asked.records)), asked)


def measure_all(sizes: Sequence[int], asked: argparse.Namespace) -> None:
    per_tar = tar_records(sizes)
    with tempfile.TemporaryDirectory(dir=asked.out, prefix="curate-") as name:
        folder = Path(name)
        need, free = ON_DISK * sizes[-1] * BYTES, shutil.disk_usage(folder).free
        if free < need:
            raise SystemExit(f"{folder}: {free / 1e9:.0f} GB free, {need / 1e9:.0f} GB are needed; give --out or less")
        start = time.perf_counter()
        write_archive(folder / "archive", sizes[-1], per_tar, pool(np.random.default_rng(0)))
        say(f"{sizes[-1]:,} records in tars of {per_tar:,} made in {time.perf_counter() - start:.0f} s")
        rows = []
        for size in sizes:
            rows.append(measured(prefix(folder / "archive", size, per_tar, folder / str(size)), asked))
            say(f"{size:,} records: {rows[-1]['all']:,.1f} s, {rows[-1]['peak_mb']:,.0f} MB at most")
        (metadata, _) = apart(["--metadata", str(folder / "archive"), "--near", asked.near])
        repeated, _ = apart(["--again", str(folder / str(sizes[0])), *common(asked)])
    fits = {step: fitted(rows, step) for step in ("all", "processor_s", *STEPS.values(), "ledger")}
    result = {
        "rows": rows,
        "fits": fits,
        "metadata_per_s": metadata,
        "again": repeated,
        "hours": hours(fits, asked.workers),
        "settings": {"workers": asked.workers, "near": asked.near, "picture": [SIDE, SIDE], "pool": POOL, **SETTINGS},
        "versions": versions(),
    }
    write_json(RESULT, result)
    print(f"\n{markdown(result)}\n\n{RESULT}")


def measured(archive: Path, asked: argparse.Namespace) -> dict[str, float]:
    made = archive.with_name(f"{archive.name}.made")
    found, (peak, own) = apart(["--once", str(archive), "--out", str(made), *common(asked)])
    shutil.rmtree(made)
    return {**found, "peak_mb": peak, "peak_own_mb": own}


def common(asked: argparse.Namespace) -> list[str]:
    return ["--workers", str(asked.workers), "--near", asked.near]


def apart(arguments: Sequence[str]) -> tuple[Any, tuple[float, float]]:
    """What this program prints last when it is called so, and the peaks of its memory (see `tree_memory`)."""
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    peaks = (0.0, 0.0)
    while process.poll() is None:
        whole, own = tree_memory(process.pid)
        peaks = (max(peaks[0], whole), max(peaks[1], own))
        time.sleep(SAMPLE_S)
    said = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    return json.loads(said.splitlines()[-1]), peaks


def settings_for(archive: Path, changes: Mapping[str, Any] = MappingProxyType({}), *, near: str) -> Any:
    from mmkd.curation.settings.curate import CurateSettings

    source = {"kind": "webdataset", "name": "w", "path": archive}
    asked = {"sources": [source], "duplicates": {"near": near}, **SETTINGS}
    return CurateSettings.model_validate(overlaid(asked, changes))


def curate_once(archive: Path, out: Path, workers: int, near: str) -> dict[str, float]:
    """In this process: seconds of each step and of all, processor seconds (for machines with other work), counts."""
    from mmkd.curation import curate as stage
    from mmkd.report.curation import write_ledger
    from mmkd.settings import Machine

    spent: dict[str, float] = {}
    for name, step in STEPS.items():
        setattr(stage, name, timed(getattr(stage, name), step, spent))
    settings = settings_for(archive, near=near)
    out.mkdir()
    begun, start = processor_s(), time.perf_counter()
    counts = stage.curate(settings, out, Machine(workers=workers), 0)
    timed(write_ledger, "ledger", spent)(out, "corpus")
    spent["all"] = time.perf_counter() - start
    spent["processor_s"] = processor_s() - begun
    return {**spent, "read": counts["read"], "kept": counts["kept"]}


def timed(body: Any, step: str, spent: dict[str, float]) -> Any:
    def measured(*given: object) -> object:
        start = time.perf_counter()
        found = body(*given)
        spent[step] = time.perf_counter() - start
        return found

    return measured


def processor_s() -> float:
    """Of this process and of those below it that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def fitted(rows: Sequence[dict[str, float]], step: str) -> dict[str, float]:
    """The line at_start_s + per_record_s * records, its R2, and the furthest any size is from it, in its own time."""
    read_N, time_N = np.array([row["read"] for row in rows]), np.array([row[step] for row in rows])
    per_record, at_start = np.polyfit(read_N, time_N, 1)
    off_N = time_N - (at_start + per_record * read_N)
    explained = 1 - (off_N**2).sum() / ((time_N - time_N.mean()) ** 2).sum()
    worst = np.abs(off_N / time_N).max()
    names = ("at_start_s", "per_record_s", "r2", "worst_residual")
    return dict(zip(names, map(float, (at_start, per_record, explained, worst)), strict=True))


def hours(fits: dict[str, dict[str, float]], workers: int) -> float:
    """For the whole of BIOMEDICA on CORES cores, if every step goes on along its line and the disks keep up."""
    each = {step: max(0.0, fit["per_record_s"]) for step, fit in fits.items() if step not in ("all", "processor_s")}
    shared = each.pop(SHARED) * max(1, workers) / CORES
    return WHOLE * (shared + sum(each.values())) / 3600


def markdown(result: dict[str, Any]) -> str:
    rows, fits, metadata = result["rows"], result["fits"], result["metadata_per_s"]
    steps = [*STEPS.values(), "ledger"]
    heads = [
        "records",
        "records/s",
        "a processor s",
        *(f"{step}, s" for step in steps),
        "peak MB",
        "of it without files",
    ]
    lines = [heads, ["---:"] * len(heads)]
    for row in rows:
        rates = [f"{row['read']:,}", f"{row['read'] / row['all']:,.0f}", f"{row['read'] / row['processor_s']:,.0f}"]
        lines.append(rates + [f"{row[step]:,.1f}" for step in steps] + [f"{row[n]:,.0f}" for n in PEAKS])
    told = ["| " + " | ".join(line) + " |" for line in lines] + ["", "| step | ms a record | R2 | worst residual |"]
    told += ["|---|---:|---:|---:|"]
    told += [
        f"| {step} | {1e3 * fit['per_record_s']:.3f} | {fit['r2']:.5f} | {fit['worst_residual']:.1%} |"
        for step, fit in fits.items()
    ]
    told += ["", "| without pictures, one process | records/processor s |", "|---|---:|"]
    told += [f"| {step} | {rate:,.0f} |" for step, rate in metadata.items()]
    told += ["", *table(result["again"])]
    slowest = min(row["read"] / row["all"] for row in rows)
    return "\n".join(
        [
            *told,
            "",
            f"end to end at least {slowest:,.0f}/s (aim {AIM_PER_S}), metadata {metadata['all']:,.0f}/s "
            f"(aim {AIM_METADATA_PER_S:,}), at most {max(row['peak_mb'] for row in rows):,.0f} MB (aim {AIM_MB:,}); "
            f"{WHOLE:,} records on {CORES} cores: {result['hours']:.1f} hours, if the disks keep up",
        ]
    )


PEAKS = ("peak_mb", "peak_own_mb")

if __name__ == "__main__":
    main()
