"""The stage `evidence`: what the teachers see of each picture's modality, weighed with what the corpus says.

Nothing is drawn at random and the corpus is not touched; the same inputs make the same bytes.
N rows, M modalities, S bins of support.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.curation.evidence.agreement import pairwise
from mmkd.curation.evidence.image import BINS, Trust, trusted
from mmkd.curation.evidence.vote import KINDS, Vote
from mmkd.curation.ledger.rows import corpus_batches
from mmkd.curation.ledger.tally import most_common
from mmkd.errors import ConfigError
from mmkd.features.alike import alike_rows
from mmkd.features.evidence.conflicts import surest
from mmkd.features.evidence.modality import SILENT, Asked, Sight, asked_of, counted, seen, sight
from mmkd.features.evidence.said import halves, said_in
from mmkd.features.evidence.settings import AlikeSettings, EvidenceSettings
from mmkd.features.evidence.stored import FACTS_FILE, VERDICT, Judged, write_rows
from mmkd.features.near_duplicates import twins
from mmkd.features.store import TeacherFeatures, open_features
from mmkd.folders.atomic import write_json
from mmkd.settings import Machine
from mmkd.validation import nearest

MOST_CONFLICTS = 200  # that are listed word for word; all have `disputed` in the rows
PROJECTIONS = 0  # seed of the directions by which candidates for twins are found; no choice of a run


def evidence(
    settings: EvidenceSettings,
    corpus_folder: Path,
    features_folder: Path,
    names: Sequence[str],
    folder: Path,
    machine: Machine,
    is_fine: bool = False,
) -> dict[str, int]:
    """Body of the stage; returns counts. is_fine: call modalities by all names of the taxonomy, not by the nine."""
    corpus = Corpus(corpus_folder)
    teachers = open_features(features_folder, corpus, names)
    said = said_in(corpus_folder, machine.processes)
    asked = asked_of(said.known_N, halves(said), is_fine, settings.min_captions)
    sights = [sight(teacher, asked) for teacher in teachers]
    choice_N, bin_N = seen(sights, asked)
    rows_MS, right_MS = counted(choice_N, bin_N, said.known_N, asked)
    trust = trusted(rows_MS, right_MS, settings.floor, settings.min_rows)
    judged = Judged(said, *_image_votes(choice_N, bin_N, asked, trust))
    twin_N = _twins(settings.alike, teachers, len(corpus)) if settings.alike else None
    write_rows(folder, corpus_folder, judged, twin_N, is_fine)
    facts = _facts(sights, asked, trust, judged, corpus_folder)
    write_json(folder / FACTS_FILE, facts)
    alike = {} if twin_N is None else {"alike": int((twin_N >= 0).sum())}
    return {"rows": len(corpus), "seen": facts["spoken"].get("image", 0), "disputed": facts["disputed"], **alike}


def _image_votes(
    choice_N: np.ndarray, bin_N: np.ndarray, asked: Asked, trust: Trust
) -> tuple[list[Vote | None], np.ndarray]:
    """The different votes, None first, and each row's place among them (N,)."""
    place_MS = np.where(trust.speaks_MS, np.cumsum(trust.speaks_MS).reshape(trust.speaks_MS.shape), 0)
    votes = [
        Vote(asked.names[m], round(float(trust.trust_MS[m, s]), 6)) for m, s in np.argwhere(trust.speaks_MS).tolist()
    ]
    return [None, *votes], np.where(choice_N == SILENT, 0, place_MS[choice_N, bin_N])


def _twins(settings: AlikeSettings, teachers: Sequence[TeacherFeatures], rows: int) -> np.ndarray:
    by_name = {teacher.name: teacher for teacher in teachers}
    if settings.teacher not in by_name:
        raise ConfigError(f"[evidence] alike: no teacher {settings.teacher!r}; {nearest(settings.teacher, [*by_name])}")
    teacher = by_name[settings.teacher]
    pair_P2, _ = alike_rows(teacher, settings.cosine, np.random.default_rng(PROJECTIONS))
    found: np.ndarray = twins(pair_P2, rows)
    return found


def _facts(sights: Sequence[Sight], asked: Asked, trust: Trust, judged: Judged, corpus: Path) -> dict[str, Any]:
    """What `evidence.json` holds: how well each teacher sees, what its votes are worth, what agrees with what."""
    said = [{kind: vote.modality for kind, vote in votes.items()} for votes in judged.said]
    votes = _votes(said, judged)
    known_M = np.bincount(asked.known_N[asked.known_N != SILENT], minlength=len(asked.names))
    disputed = sum(t for verdict, t in zip(judged.verdicts, judged.times, strict=True) if verdict.disputed)
    return {
        "modalities": dict(zip(asked.names, known_M.tolist(), strict=True)),
        "teachers": [
            {
                "teacher": one.teacher.name,
                "accuracy": round(one.accuracy, 4),
                "scale": one.scale,
                "rows": int(one.rows_M.sum()),
                "modalities": {
                    asked.names[m]: {"rows": int(one.rows_M[m]), "right": int(one.right_M[m])}
                    for m in np.flatnonzero(one.rows_M).tolist()
                },
            }
            for one in sights
        ],
        "trust": _trust_rows(asked, trust),
        "votes": {kind: most_common(votes[kind]) for kind in (*KINDS, VERDICT) if kind in votes},
        "spoken": {kind: votes[kind].total() for kind in KINDS if kind in votes},
        "agreement": [asdict(found) for found in pairwise(said, judged.times)],
        "disputed": disputed,
        "conflicts": _conflicts(said, judged, corpus),
    }


def _votes(said: Sequence[Mapping[str, str]], judged: Judged) -> dict[str, Counter[str]]:
    """Kind of evidence, or VERDICT, -> modality -> rows of which it says so."""
    votes: dict[str, Counter[str]] = {}
    for kinds, verdict, times in zip(said, judged.verdicts, judged.times, strict=True):
        for kind, modality in {**kinds, VERDICT: verdict.modality}.items():
            votes.setdefault(kind, Counter())[modality] += times
    return votes


def _trust_rows(asked: Asked, trust: Trust) -> list[dict[str, Any]]:
    return [
        {
            "modality": asked.names[m],
            "support": s / BINS,
            "rows": int(trust.rows_MS[m, s]),
            "right": int(trust.right_MS[m, s]),
            "trust": round(float(trust.trust_MS[m, s]), 6),
            "speaks": bool(trust.speaks_MS[m, s]),
        }
        for m, s in np.argwhere(trust.rows_MS > 0).tolist()
    ]


def _conflicts(said: Sequence[Mapping[str, str]], judged: Judged, corpus: Path) -> list[dict[str, Any]]:
    """The disputed rows to look at first. row: of the corpus. trust: in each vote."""
    rows = surest(judged, MOST_CONFLICTS)
    ids = (identity for batch in corpus_batches(corpus, ("id",)) for identity in batch.column("id").to_pylist())
    wanted = set(rows)
    named = {row: identity for row, identity in enumerate(islice(ids, max(rows, default=-1) + 1)) if row in wanted}
    found = []
    for row in rows:
        place = int(judged.verdict_N[row])
        verdict, trust = judged.verdicts[place], {kind: vote.trust for kind, vote in judged.said[place].items()}
        told = {"said": said[place], "trust": trust, VERDICT: verdict.modality}
        found.append({"id": named[row], "row": row, **told, "confidence": round(verdict.confidence, 6)})
    return found
