"""What curation costs at scale: records a second end to end and per step, peak memory, and how both grow.

`python bench/curate.py [--records 20000 200000] [--workers 1] [--out FOLDER] [--json FILE]` writes an archive in
BIOMEDICA's WebDataset layout for each size (50-kB JPEGs of noisy texture, drawn once and used again with other bytes
after their end, so that every record is one of its own; captions, articles and labels vary; one record in twenty
repeats an earlier one), curates it in a fresh process, and fits a line through the times.
"""

import argparse
import io
import json
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES, SIDE, BYTES = 64, 384, 50_000
TAR_RECORDS = 2_000
REPEATED = 20  # one record in so many
WHOLE, CORES = 24_000_000, 64
LABELS = (["ultrasound"], ["computerized tomography"], ["magnetic resonance"], ["light microscopy"], ["plot"])
SENTENCE = "axial scan of the liver shows a large hypodense lesion with rim enhancement after contrast in a patient"
WORDS = SENTENCE.split()


def pictures(rng: np.random.Generator) -> list[bytes]:
    """JPEGs of about BYTES each: a smooth picture with noise, as much as makes the size."""
    found = []
    for _ in range(PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
        smooth_HW3 = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)
        noisy = Image.fromarray(np.clip(smooth_HW3 + rng.normal(0, 14, smooth_HW3.shape), 0, 255).astype(np.uint8))
        sizes = {quality: encoded(noisy, quality) for quality in (60, 70, 80, 85, 90)}
        found.append(min(sizes.values(), key=lambda data: abs(len(data) - BYTES)))
    return found


def encoded(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def members(records: range, jpegs: list[bytes]) -> Iterator[tuple[str, bytes]]:
    for number in records:
        shown = number - REPEATED // 2 if number % REPEATED == REPEATED - 1 else number
        words = np.random.default_rng(shown).permutation(WORDS)
        caption = f"Figure {shown % 9}. {' '.join(words)} ({shown})."
        meta = {
            "caption": caption,
            "image_secondary_label": LABELS[number % len(LABELS)],
            "image_primary_label": ["Clinical Imaging"],
            "article_accession_id": f"PMC{number // 4}",
            "article_license": "CC BY",
            "article_abstract": " ".join(WORDS * 20),
        }
        # bytes after the end of a JPEG are no part of the picture, but of what is stored and hashed
        image = jpegs[shown % PICTURES] + shown.to_bytes(8, "big")
        yield f"{number:08d}.jpg", image
        yield f"{number:08d}.json", json.dumps(meta).encode()
        yield f"{number:08d}.txt", caption.encode()


def write_archive(folder: Path, records: int, jpegs: list[bytes]) -> None:
    folder.mkdir(parents=True)
    for first in range(0, records, TAR_RECORDS):
        with tarfile.open(folder / f"{first // TAR_RECORDS:06d}.tar", "w") as tar:
            for name, content in members(range(first, min(first + TAR_RECORDS, records)), jpegs):
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))


def curate_once(archive: Path, out: Path, workers: int) -> dict[str, float]:
    """In this process: seconds of each step, processor seconds (for machines with other work), peak memory in MB."""
    from mmkd.corpus import curate as stage
    from mmkd.corpus.settings import CurateSettings
    from mmkd.settings import Machine

    spent: dict[str, float] = {}
    steps = {"read_and_check": "make_parts", "choose": "select", "write": "write_corpus"}
    for step, name in steps.items():
        body = getattr(stage, name)

        def timed(*given: object, step: str = step, body: object = body) -> object:
            start = time.perf_counter()
            found = body(*given)  # type: ignore[operator]
            spent[step] = time.perf_counter() - start
            return found

        setattr(stage, name, timed)
    settings = CurateSettings.model_validate(
        {"sources": [{"kind": "webdataset", "name": "w", "path": archive}], "duplicates": {"near": "pair"}}
    )
    out.mkdir()
    loaded = resource.getrusage(resource.RUSAGE_SELF)
    begun = loaded.ru_utime + loaded.ru_stime
    start = time.perf_counter()
    counts = stage.curate(settings, out, Machine(workers=workers), 0)
    spent["all"] = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    spent["cpu"] = sum(one.ru_utime + one.ru_stime for one in used) - begun
    own, below = (one.ru_maxrss / 1024 for one in used)
    return {**spent, "read": counts["read"], "kept": counts["kept"], "peak_mb": own, "peak_mb_of_a_worker": below}


def metadata_rate(archive: Path) -> float:
    """Records a second of reading a tar and its JSON without decoding a picture."""
    from mmkd.corpus.settings import WebDatasetSource
    from mmkd.corpus.sources.webdataset import WebDatasetReader

    shard = WebDatasetReader(WebDatasetSource(kind="webdataset", name="w", path=archive)).shards()[0]
    start = time.perf_counter()
    return sum(1 for _ in shard.records()) / (time.perf_counter() - start)


def measured(records: int, workers: int, folder: Path, jpegs: list[bytes]) -> dict[str, float]:
    write_archive(folder / "archive", records, jpegs)
    command = [sys.executable, __file__, "--once", str(folder / "archive"), "--out", str(folder / "made")]
    shown = subprocess.run([*command, "--workers", str(workers)], check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(shown.splitlines()[-1])
    found["metadata_per_s"] = metadata_rate(folder / "archive")
    shutil.rmtree(folder)
    return found


def report(rows: list[dict[str, float]], workers: int) -> dict[str, object]:
    """Rates, the line through the times (at_start_s + per_record_s * records), and hours for the whole archive."""
    read_N, all_N = np.array([row["read"] for row in rows]), np.array([row["all"] for row in rows])
    at_start, per_record = 0.0, float(all_N[-1] / read_N[-1])
    if len(rows) > 1:
        per_record, at_start = (float(value) for value in np.polyfit(read_N, all_N, 1))
    last = rows[-1]
    shared, alone = last["read_and_check"] * max(1, workers), last["choose"] + last["write"]
    hours = WHOLE / last["read"] * (shared / CORES + alone) / 3600
    for row in rows:
        rates = ", ".join(
            f"{step} {row['read'] / row[step]:,.0f}/s" for step in ("all", "cpu", "read_and_check", "choose", "write")
        )
        print(
            f"{row['read']:,.0f} records, {workers} workers: {rates}; reading alone {row['metadata_per_s']:,.0f}/s; "
            f"peak {row['peak_mb']:,.0f} MB (a worker {row['peak_mb_of_a_worker']:,.0f} MB)"
        )
    print(f"seconds = {at_start:.1f} + {1e3 * per_record:.3f} ms a record")
    print(f"{WHOLE:,} records on {CORES} cores: {hours:.1f} hours, if the disks keep up")
    return {"rows": rows, "workers": workers, "at_start_s": at_start, "per_record_s": per_record, "hours": hours}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--records", type=int, nargs="+", default=[20_000, 200_000])
    asked.add_argument("--workers", type=int, default=1)
    asked.add_argument("--out", type=Path, help="folder for the archive, removed afterwards [default: a temporary one]")
    asked.add_argument("--json", type=Path, help="write the figures there")
    asked.add_argument("--once", type=Path, help="curate this archive once and print what it took")
    options = asked.parse_args()
    if options.once:
        print(json.dumps(curate_once(options.once, options.out, options.workers)))
        return
    jpegs = pictures(np.random.default_rng(0))
    print(f"{np.mean([len(data) for data in jpegs]) / 1e3:.1f} kB a picture, {SIDE} x {SIDE}")
    rows = []
    for records in options.records:
        with tempfile.TemporaryDirectory(dir=options.out) as folder:
            rows.append(measured(records, options.workers, Path(folder) / "bench", jpegs))
    found = report(rows, options.workers)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
