"""Labels of the pictures of a source, as a table and as a page; N pictures, C classes."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmkd.curation.records.record import Rejected
from mmkd.errors import ConfigError, DataError
from mmkd.folders.atomic import atomic_file, remove_drafts, write_json
from mmkd.folders.locks import sole_owner
from mmkd.inference.blocks import Hands, Task, embed_blocks, plan_of, rejected_in, remove_blocks, tables_of
from mmkd.inference.embed import BESIDE, check_out, vectors_in, write_rejects
from mmkd.inference.model import Model
from mmkd.inference.pictures import SourceOptions
from mmkd.labels.calibrate import Calibration, of_labelled, places_of
from mmkd.labels.head import Head
from mmkd.statistics.conformal import in_sets
from mmkd.tables.spreadsheet import harmless

SUFFIXES = (".csv", ".parquet")
SET = "set"


@dataclass(frozen=True)
class Labelled:
    """classes: label -> pictures, the commonest first. tables: of the labels, in parts, without vectors."""

    out: Path
    calibration: Calibration
    classes: Counter[str]
    abstained: int
    rejected: Counter[str]
    rejects: Path | None
    tables: Sequence[pa.Table]


def label(
    source: Path,
    model: Model,
    head: Head,
    out: Path,
    least: float,
    options: SourceOptions,
    workers: int,
    hands: Hands | None = None,
) -> Labelled:
    """Write a row for each picture of the source: label, probabilities, and the set where the calibration has one.

    least: below this probability the label is left empty, and `abstained` is true. hands: embed the pictures in place
    of this process. A run that was killed goes on with the same call. Raises ConfigError and DataError.
    """
    if not 0 <= least <= 1:  # NaN, too
        raise ConfigError(f"--threshold {least}: expected a probability, 0 to 1")
    check_out(source, out, SUFFIXES)
    parts = out.with_name(f".{out.name}.parts")
    with sole_owner(out):
        remove_drafts(out, *map(out.with_suffix, BESIDE))
        task = Task(source, options, model, model.digest)
        plan = plan_of(task)
        embed_blocks(task, plan, parts, [""], workers, hands=hands)
        rejected, tables = list[Rejected](), list[pa.Table]()
        for table in tables_of(plan, parts):
            rejected += rejected_in(table)
            tables.append(_labelled(table, head, least))
        _write(out, tables)
        write_json(out.with_suffix(".json"), _facts(model, head, least))
        rejects = write_rejects(out, rejected)
        remove_blocks(parts)
    given = Counter(name for table in tables for name in table["label"].to_pylist())
    abstained = sum(sum(table["abstained"].to_pylist()) for table in tables)
    given.pop("", None)
    return Labelled(
        out, head.calibration, given, abstained, Counter(str(one.reason) for one in rejected), rejects, tables
    )


def _labelled(table: pa.Table, head: Head, least: float) -> pa.Table:
    classes, calibration = head.classes, head.calibration
    found = head.classified(vectors_in(table))
    unsure_N = found.probability_NC.max(axis=1, initial=0) < least
    labels = ["" if unsure else name for name, unsure in zip(found.labels(), unsure_N, strict=True)]
    made = found.table().set_column(0, "label", pa.array(labels, pa.string()))
    made = made.add_column(2, "abstained", pa.array(unsure_N, pa.bool_()))
    if calibration.least is not None:
        sets = [
            [name for name, is_in in zip(classes.names, row, strict=True) if is_in]
            for row in in_sets(found.probability_NC, calibration.least)
        ]
        made = made.add_column(3, SET, pa.array(sets, pa.list_(pa.string())))
    for name in reversed([name for name in table.column_names if name != "vector"]):
        made = made.add_column(0, name, table[name])
    return made


def _write(out: Path, tables: Sequence[pa.Table]) -> None:
    if out.suffix.lower() == ".parquet":
        with atomic_file(out) as stream:
            pq.write_table(pa.concat_tables(tables), stream, compression="zstd")
        return
    with atomic_file(out) as stream:
        text = io.TextIOWrapper(stream, "utf-8", newline="", write_through=True)
        lines = csv.writer(text)
        lines.writerow(map(harmless, tables[0].column_names))
        for table in tables:
            lines.writerows(map(_cells, zip(*(column.to_pylist() for column in table.columns), strict=True)))
        text.detach()


def _cells(row: Sequence[Any]) -> Iterator[Any]:
    for value in row:
        if isinstance(value, list):
            yield harmless("; ".join(value))
        elif isinstance(value, bool):
            yield str(value).lower()
        else:
            yield decimals(value) if isinstance(value, float) else harmless(value)


def decimals(value: float) -> str:
    """Six significant digits without an exponent, which not every reader of CSV takes for a number."""
    if not math.isfinite(value):
        return str(value)
    power = int(f"{value:.5e}".partition("e")[2])
    return f"{value:.{max(0, 5 - power)}f}"


def _facts(model: Model, head: Head, least: float) -> Mapping[str, Any]:
    classes, calibration = head.classes, head.calibration
    return {
        "model": model.name,
        "digest": model.digest,
        "classes": dict(zip(classes.names, classes.prompts, strict=True)),
        "card": classes.card,
        "threshold": least,
        "temperature": calibration.temperature,
        "calibrated": calibration.calibrated,
        "calibration": str(calibration),
        "probability_to_be_in_a_set": calibration.least,
    }


def calibration_from(
    table: Path, column: str, model: Model, head: Head, coverage: float, options: SourceOptions, work: Path,
    workers: int, seed: int = 0, hands: Hands | None = None,
) -> Calibration:  # fmt: skip
    """From a table of labelled pictures; column: of the labels. work: a folder for the vectors while they are made.

    hands: as of `label`. Pictures without a label are left out. Raises DataError, also for those that cannot be read.
    """
    if not 0 <= coverage < 1:
        raise ConfigError(f"--coverage {coverage}: expected a share from 0 to below 1, such as 0.9")
    task = Task(table, options.model_copy(update={"caption": column, "image": ""}), model, model.digest)
    plan = plan_of(task)
    embed_blocks(task, plan, work, [""], workers, hands=hands)
    parts = list(tables_of(plan, work))
    if unread := [one for part in parts for one in rejected_in(part)]:
        raise DataError(
            f"{table}: {len(unread):,} labelled pictures cannot be read, the first {unread[0].where}: "
            f"{unread[0].detail}; mend or remove these rows"
        )
    merged = pa.concat_tables(part.replace_schema_metadata(None) for part in parts)
    label_N = places_of(merged["caption"].to_pylist(), head.classes)
    score_NC = head.score(vectors_in(merged)).astype(np.float32)
    known = label_N >= 0
    names = zip(merged["group"].to_pylist(), merged["path"].to_pylist(), strict=True)
    group_N = [group or path for group, path in names]
    found = of_labelled(
        score_NC[known], label_N[known], [one for one, is_known in zip(group_N, known, strict=True) if is_known],
        coverage, seed,
    )  # fmt: skip
    remove_blocks(work)
    return found
