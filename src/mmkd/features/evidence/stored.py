"""Evidence beside a corpus: the teachers' votes for each row's modality, and the estimate from all kinds; N rows.

The corpus itself stays as it is, since features are bound to its digest. The folder holds `evidence.parquet`, in the
rows of the corpus, and `evidence.json`, how reliable votes are.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmkd.curation.ledger.rows import corpus_batches
from mmkd.curation.ledger.tally import most_common
from mmkd.curation.modality.votes import Estimate, Vote, weigh
from mmkd.errors import DataError
from mmkd.features.evidence.corpus_votes import CORPUS_KINDS, CorpusVotes
from mmkd.folders.atomic import atomic_file
from mmkd.folders.stage import digest_of, read_manifest
from mmkd.modalities.taxonomy import evaluated_modality

ROWS_FILE = "evidence.parquet"
FACTS_FILE = "evidence.json"
IMAGE = "image"
ESTIMATE = "verdict"  # of all kinds of evidence together, as finished folders call it
SILENT = "nothing"  # in place of a modality where teachers have no vote
CORPUS = "corpus"  # the stage's input by which it is bound to its corpus
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("image_modality", pa.string()),
        ("image_confidence", pa.float32()),
        ("modality", pa.string()),
        ("modality_evidence", pa.string()),
        ("modality_confidence", pa.float32()),
        ("disputed", pa.bool_()),
        ("alike_of", pa.string()),
    ]
)
"""image_modality: "" where the teachers have no vote. image_confidence: how often such votes are right, 0 without one.
modality, modality_evidence, modality_confidence: the estimate from source, label, caption and image, as in a corpus.
disputed: one of them contradicts it. alike_of: id of the earlier row of which this is a near duplicate, "" for none."""


class Estimates:
    """The estimates on all rows: the few different ones, and which of them each row has (N,).

    votes: what `place_NK` names, kinds in the order of CORPUS_KINDS, then the image.
    """

    def __init__(self, corpus: CorpusVotes, image_votes: list[Vote | None], image_N: np.ndarray) -> None:
        """image_N: each row's place in `image_votes`, of which the first is None."""
        key_N = np.column_stack([corpus.place_NK, image_N.astype(np.int16)])
        packed_N = np.ascontiguousarray(key_N).view(np.uint64)[:, 0]
        _, first_V, self.estimate_N = np.unique(packed_N, return_index=True, return_inverse=True)
        self.votes = [
            {kind: vote for kind, vote in zip((*CORPUS_KINDS, IMAGE), votes, strict=True) if vote is not None}
            for votes in (
                [*(corpus.votes[place] for place in key[:-1]), image_votes[key[-1]]] for key in key_N[first_V].tolist()
            )
        ]
        self.distinct: list[Estimate] = [weigh(votes) for votes in self.votes]

    @property
    def times(self) -> list[int]:
        counts: list[int] = np.bincount(self.estimate_N, minlength=len(self.distinct)).tolist()
        return counts

    def table(self, is_fine: bool) -> pa.Table:
        """A row for each different estimate, with the columns of SCHEMA that follow from it."""
        named = str if is_fine else evaluated_modality
        image = [votes.get(IMAGE) for votes in self.votes]
        columns = {
            "image_modality": ["" if vote is None else named(vote.modality) for vote in image],
            "image_confidence": [0.0 if vote is None else vote.trust for vote in image],
            "modality": [named(one.modality) for one in self.distinct],
            "modality_evidence": [one.evidence for one in self.distinct],
            "modality_confidence": [one.confidence for one in self.distinct],
            "disputed": [one.disputed for one in self.distinct],
        }
        return pa.table(columns, pa.schema([SCHEMA.field(name) for name in columns]))


def write_rows(folder: Path, corpus: Path, estimates: Estimates, duplicate_N: np.ndarray | None, is_fine: bool) -> None:
    """Write `evidence.parquet` block by block. duplicate_N: the row of which each is a near duplicate, -1 for none."""
    distinct, first = estimates.table(is_fine), 0
    ids = pa.chunked_array([batch.column("id") for batch in corpus_batches(corpus, ("id",))], pa.string())
    with atomic_file(folder / ROWS_FILE) as stream, pq.ParquetWriter(stream, SCHEMA) as writer:
        for batch in corpus_batches(corpus, ("id",)):
            rows = slice(first, first + batch.num_rows)
            found = distinct.take(pa.array(estimates.estimate_N[rows]))
            originals = _ids(ids, duplicate_N[rows]) if duplicate_N is not None else pa.repeat("", batch.num_rows)
            columns = [batch.column("id"), *found.columns, originals]
            writer.write_table(pa.table(columns, schema=SCHEMA))
            first += batch.num_rows


def _ids(ids: pa.ChunkedArray, row_N: np.ndarray) -> pa.Array:
    found: pa.Array = ids.take(pa.array(row_N, mask=row_N < 0)).fill_null("").combine_chunks()
    return found


class StoredEvidence:
    """The evidence on a corpus. Raises DataError when it is not finished, of another corpus, or of other rows."""

    def __init__(self, folder: Path, corpus: Path) -> None:
        self.folder = folder
        made_from, wanted = str(read_manifest(folder)["inputs"].get(CORPUS)), digest_of(corpus)
        if made_from != wanted:
            raise DataError(
                f"{folder}: evidence on another corpus (made from {made_from[:12]}, the corpus here is {wanted[:12]}); "
                "run 'mmkd evidence' again"
            )
        self.facts: Mapping[str, Any] = json.loads((folder / FACTS_FILE).read_text())
        self.file = pq.ParquetFile(folder / ROWS_FILE)
        if missing := {*SCHEMA.names} - {*self.file.schema_arrow.names}:
            raise DataError(f"{folder}: {ROWS_FILE} lacks the columns {sorted(missing)}; run 'mmkd evidence' again")

    def batches(self, *columns: str) -> Iterator[pa.RecordBatch]:
        """The given columns, in the order of the corpus."""
        yield from self.file.iter_batches(columns=list(columns))

    def column(self, name: str) -> np.ndarray:
        return np.asarray(self.file.read([name]).column(name).to_numpy())

    def counts(self) -> dict[str, Any]:
        """Rows by estimate and by vote of the teachers, those with a conflict, and those that are near duplicates."""
        by: dict[str, Counter[str]] = {"modality": Counter(), "image_modality": Counter()}
        disputed = near = 0
        for batch in self.batches(*by, "disputed", "alike_of"):
            for name, counter in by.items():
                counter.update(value or SILENT for value in batch.column(name).to_pylist())
            disputed += pc.sum(batch.column("disputed")).as_py() or 0
            near += pc.sum(pc.not_equal(batch.column("alike_of"), "")).as_py() or 0
        return {
            **{name: most_common(counter) for name, counter in by.items()},
            "disputed": disputed,
            "near_duplicates": near,
        }

    def row(self, identity: str) -> dict[str, Any]:
        """The evidence on one record. Raises DataError for an id that the corpus does not have."""
        for batch in self.batches(*SCHEMA.names):
            if (place := pc.index(batch.column("id"), identity).as_py()) >= 0:
                found: dict[str, Any] = batch.slice(place, 1).to_pylist()[0]
                return found
        raise DataError(f"{self.folder}: no record {identity!r}; all ids stand in {ROWS_FILE}")
