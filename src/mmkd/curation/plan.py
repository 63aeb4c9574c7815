"""What a curation would read, write and cost, estimated from the first shard of each source that has records."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmkd.curation.records.notes import with_notes
from mmkd.curation.records.record import Excluded, Noted, Record, Rejected, Shard
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shards import Removed, filtered_rows
from mmkd.curation.sources.kinds import open_source
from mmkd.curation.sources.names import named_sources

SAMPLE = 200  # records that are really checked
TRIED = 16  # shards at most that are read until one has a record: archives begin with folders of other files


@dataclass(frozen=True)
class SourcePlan:
    """One source. records: of all shards if all hold as many as those read. bytes_each: of a checked image. kept: share
    of the records looked at that pass the checks of a record. read_s, check_s: seconds a record in one process.
    rejected: reason -> how many of the `looked_at`, commonest first. examples: reason -> what was found of the first of
    them, and often the cure. noted: what -> how many of those looked at. excluded: as `records`, but those that
    `include` does not select."""

    name: str
    shards: int
    records: int
    bytes_each: float
    kept: float
    read_s: float
    check_s: float
    looked_at: int
    rejected: Mapping[str, int]
    examples: Mapping[str, str]
    noted: Mapping[str, int]
    excluded: int

    def hours(self, processes: int) -> float:
        """Of reading and checking all records, by so many processes."""
        return self.records * (self.read_s + self.check_s) / 3600 / max(1, processes)

    @property
    def bytes_kept(self) -> float:
        """Of the images that would be written."""
        return self.records * self.kept * self.bytes_each


def plan_curation(settings: CurateSettings, sample: int = SAMPLE) -> list[SourcePlan]:
    """Reads the first shard of each source that has a record, of which it checks `sample` records; writes nothing.

    Raises ConfigError and DataError as the readers do.
    """
    return [_planned(source.name, open_source(source).shards(), settings, sample) for source in named_sources(settings)]


def _planned(name: str, shards: Sequence[Shard], settings: CurateSettings, sample: int) -> SourcePlan:
    start = time.perf_counter()
    looked_at: list[Record | Rejected] = []
    noted: Counter[str] = Counter()
    read = count = excluded = 0
    for shard in shards[:TRIED]:
        read += 1
        for record in with_notes(shard.records()):
            if isinstance(record, Noted) and count <= sample:
                noted[record.what] += record.files
            if not isinstance(record, Record | Rejected):
                excluded += record.records if isinstance(record, Excluded) else 0
                continue
            if count < sample:
                looked_at.append(record)
            count += 1
        if excluded or any(isinstance(one, Record) for one in looked_at):
            break
    all_of_read = len(shards) / max(1, read)
    read_s = (time.perf_counter() - start) / max(1, count)
    removed = Removed()
    start = time.perf_counter()
    sizes = [len(row["image"]) for row in filtered_rows(looked_at, settings, removed)]
    check_s = (time.perf_counter() - start) / max(1, len(looked_at))
    rejected = dict(Counter(str(one.reason) for one in removed.rejected).most_common())
    examples = {str(one.reason): f"{one.where}: {one.detail}" for one in reversed(removed.rejected) if one.detail}
    return SourcePlan(
        name=name,
        shards=len(shards),
        records=round(count * all_of_read),
        bytes_each=sum(sizes) / max(1, len(sizes)),
        kept=len(sizes) / max(1, len(looked_at)),
        read_s=read_s,
        check_s=check_s,
        looked_at=len(looked_at),
        rejected=rejected,
        examples={reason: examples[reason] for reason in rejected if reason in examples},
        noted=noted,
        excluded=round(excluded * all_of_read),
    )
