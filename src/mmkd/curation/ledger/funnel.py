"""How many records are left after each step of curation."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmkd.curation.ledger.rows import rejected_batches
from mmkd.curation.ledger.steps import STEPS, step_of
from mmkd.curation.ledger.tally import most_common

FUNNEL = "funnel.json"


@dataclass(frozen=True)
class Funnel:
    """rejected: (source, reason) -> records; kept: source -> records; excluded: source -> those that its `include`
    does not select, which are not read; noted: source -> what -> files or records."""

    rejected: Counter[tuple[str, str]]
    kept: Counter[str]
    excluded: Counter[str] = field(default_factory=Counter)
    noted: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def read(self) -> int:
        return self.rejected.total() + self.kept.total()

    @property
    def found(self) -> int:
        """All that the sources hold."""
        return self.read + self.excluded.total()

    def by_source(self) -> dict[str, tuple[int, int]]:
        """source -> kept and rejected, the largest first."""
        gone: Counter[str] = Counter()
        for (source, _), times in self.rejected.items():
            gone[source] += times
        return {name: (self.kept[name], gone[name]) for name in most_common(self.kept + gone)}

    def steps(self) -> list[tuple[str, Counter[str], int]]:
        """In order: the step, reason -> records that left there, and how many were left after it."""
        left = self.read
        found = []
        for step in STEPS:
            gone: Counter[str] = Counter()
            for (_, reason), times in self.rejected.items():
                gone[reason] += times * (step_of(reason) == step)
            gone = +gone
            left -= gone.total()
            found.append((step, gone, left))
        return found


def funnel_of(folder: Path, kept: Counter[str]) -> Funnel:
    """kept: source -> pairs of the corpus."""
    rejected: Counter[tuple[str, str]] = Counter()
    for batch in rejected_batches(folder):
        rejected.update(zip(batch.column("source").to_pylist(), batch.column("reason").to_pylist(), strict=True))
    return Funnel(rejected, kept, excluded(folder), noted(folder))


def excluded(folder: Path) -> Counter[str]:
    """Source -> records that its `include` does not select; nothing for a corpus made otherwise, or earlier."""
    return +Counter({name: counts.get("excluded", 0) for name, counts in _sources(folder).items()})


def noted(folder: Path) -> dict[str, dict[str, int]]:
    """Source -> what -> files, of sources that have any."""
    return {name: counts["noted"] for name, counts in _sources(folder).items() if counts.get("noted")}


def _sources(folder: Path) -> dict[str, Any]:
    path = folder / FUNNEL
    return dict(json.loads(path.read_text())["sources"]) if path.is_file() else {}
