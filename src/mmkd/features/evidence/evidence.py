"""The stage `evidence`: the teachers' votes for the modality of each image, weighed with those of the corpus.

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
from mmkd.curation.ledger.rows import corpus_batches
from mmkd.curation.ledger.tally import most_common
from mmkd.curation.modality.votes import KINDS, Vote
from mmkd.errors import ConfigError
from mmkd.features.evidence.agreement import pairwise, surest
from mmkd.features.evidence.corpus_votes import corpus_votes, halves
from mmkd.features.evidence.settings import EvidenceSettings, NearDuplicateSettings
from mmkd.features.evidence.stored import ESTIMATE, FACTS_FILE, Estimates, write_rows
from mmkd.features.evidence.teacher_votes import (
    BINS,
    SILENT,
    Candidates,
    Trust,
    ZeroShotTeacher,
    candidates_of,
    classified,
    classifier,
    counted_right,
    trusted,
)
from mmkd.features.near_duplicates import duplicates, near_duplicate_rows
from mmkd.features.store import TeacherFeatures, open_features
from mmkd.folders.atomic import write_json
from mmkd.randomness import Purpose, generator
from mmkd.settings import Machine
from mmkd.validation import nearest

MOST_CONFLICTS = 200  # that are listed word for word; all have `disputed` in the rows


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
    votes = corpus_votes(corpus_folder, machine.processes)
    candidates = candidates_of(votes.known_N, halves(votes), is_fine, settings.min_captions)
    classifiers = [classifier(teacher, candidates) for teacher in teachers]
    choice_N, bin_N = classified(classifiers, candidates)
    rows_MS, right_MS = counted_right(choice_N, bin_N, votes.known_N, candidates)
    trust = trusted(rows_MS, right_MS, settings.floor, settings.min_rows)
    estimates = Estimates(votes, *_image_votes(choice_N, bin_N, candidates, trust))
    duplicate_N = (
        _near_duplicates(settings.near_duplicates, teachers, len(corpus)) if settings.near_duplicates else None
    )
    write_rows(folder, corpus_folder, estimates, duplicate_N, is_fine)
    facts = _facts(classifiers, candidates, trust, estimates, corpus_folder)
    write_json(folder / FACTS_FILE, facts)
    found = {} if duplicate_N is None else {"near_duplicates": int((duplicate_N >= 0).sum())}
    return {"rows": len(corpus), "image_votes": facts["spoken"].get("image", 0), "disputed": facts["disputed"], **found}


def _image_votes(
    choice_N: np.ndarray, bin_N: np.ndarray, candidates: Candidates, trust: Trust
) -> tuple[list[Vote | None], np.ndarray]:
    """The different votes, None first, and each row's place among them (N,)."""
    place_MS = np.where(trust.speaks_MS, np.cumsum(trust.speaks_MS).reshape(trust.speaks_MS.shape), 0)
    votes = [
        Vote(candidates.names[m], round(float(trust.trust_MS[m, s]), 6))
        for m, s in np.argwhere(trust.speaks_MS).tolist()
    ]
    return [None, *votes], np.where(choice_N == SILENT, 0, place_MS[choice_N, bin_N])


def _near_duplicates(settings: NearDuplicateSettings, teachers: Sequence[TeacherFeatures], rows: int) -> np.ndarray:
    by_name = {teacher.name: teacher for teacher in teachers}
    if settings.teacher not in by_name:
        raise ConfigError(
            f"[evidence] near_duplicates: no teacher {settings.teacher!r}; {nearest(settings.teacher, [*by_name])}"
        )
    teacher = by_name[settings.teacher]
    pair_P2, _ = near_duplicate_rows(teacher, settings.cosine, generator(0, Purpose.EVIDENCE_PROJECTIONS))
    return np.asarray(duplicates(pair_P2, rows))


def _facts(
    classifiers: Sequence[ZeroShotTeacher], candidates: Candidates, trust: Trust, estimates: Estimates, corpus: Path
) -> dict[str, Any]:
    """What `evidence.json` holds: accuracy of each teacher, reliability of the votes, agreement of all evidence."""
    named = [{kind: vote.modality for kind, vote in votes.items()} for votes in estimates.votes]
    votes = _votes(named, estimates)
    known_M = np.bincount(candidates.known_N[candidates.known_N != SILENT], minlength=len(candidates.names))
    disputed = sum(t for one, t in zip(estimates.distinct, estimates.times, strict=True) if one.disputed)
    return {
        "modalities": dict(zip(candidates.names, known_M.tolist(), strict=True)),
        "teachers": [
            {
                "teacher": one.teacher.name,
                "accuracy": round(one.accuracy, 4),
                "scale": one.scale,
                "rows": int(one.rows_M.sum()),
                "modalities": {
                    candidates.names[m]: {"rows": int(one.rows_M[m]), "right": int(one.right_M[m])}
                    for m in np.flatnonzero(one.rows_M).tolist()
                },
            }
            for one in classifiers
        ],
        "trust": _trust_rows(candidates, trust),
        "votes": {kind: most_common(votes[kind]) for kind in (*KINDS, ESTIMATE) if kind in votes},
        "spoken": {kind: votes[kind].total() for kind in KINDS if kind in votes},
        "agreement": [asdict(found) for found in pairwise(named, estimates.times)],
        "disputed": disputed,
        "conflicts": _conflicts(named, estimates, corpus),
    }


def _votes(named: Sequence[Mapping[str, str]], estimates: Estimates) -> dict[str, Counter[str]]:
    """Kind of evidence, or ESTIMATE -> modality -> rows that have it by this."""
    votes: dict[str, Counter[str]] = {}
    for kinds, estimate, times in zip(named, estimates.distinct, estimates.times, strict=True):
        for kind, modality in {**kinds, ESTIMATE: estimate.modality}.items():
            votes.setdefault(kind, Counter())[modality] += times
    return votes


def _trust_rows(candidates: Candidates, trust: Trust) -> list[dict[str, Any]]:
    return [
        {
            "modality": candidates.names[m],
            "support": s / BINS,
            "rows": int(trust.rows_MS[m, s]),
            "right": int(trust.right_MS[m, s]),
            "trust": round(float(trust.trust_MS[m, s]), 6),
            "speaks": bool(trust.speaks_MS[m, s]),
        }
        for m, s in np.argwhere(trust.rows_MS > 0).tolist()
    ]


def _conflicts(named: Sequence[Mapping[str, str]], estimates: Estimates, corpus: Path) -> list[dict[str, Any]]:
    """The disputed rows to look at first. row: of the corpus. trust: in each vote."""
    rows = surest(estimates, MOST_CONFLICTS)
    ids = (identity for batch in corpus_batches(corpus, ("id",)) for identity in batch.column("id").to_pylist())
    wanted = set(rows)
    id_of = {row: identity for row, identity in enumerate(islice(ids, max(rows, default=-1) + 1)) if row in wanted}
    found = []
    for row in rows:
        place = int(estimates.estimate_N[row])
        estimate, trust = estimates.distinct[place], {k: vote.trust for k, vote in estimates.votes[place].items()}
        votes = {"said": named[place], "trust": trust, ESTIMATE: estimate.modality}
        found.append({"id": id_of[row], "row": row, **votes, "confidence": round(estimate.confidence, 6)})
    return found
