"""What is noted of records as they are read, whatever becomes of them: pages, and modality names that are not known."""

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from mmkd.curation.records.record import Found, Noted, Record, printable
from mmkd.images.decode import SEVERAL, has_several
from mmkd.modalities.taxonomy import is_unknown

UNKNOWN_MODALITY = "modality not known, taken as other: "  # begins what is noted of a record, before the name
OTHER_NAMES = "other modality names not known, taken as other"
MOST_NAMES = 100  # of a source that are kept one by one: a column of free text has one a record


def with_notes(records: Iterable[Found]) -> Iterator[Found]:
    """The records; behind those with something to note, a note each."""
    names: dict[str, set[str]] = defaultdict(set)  # of each source
    for record in records:
        yield record
        if not isinstance(record, Record):
            continue
        if has_several(io.BytesIO(record.image)):
            yield Noted(record.source, SEVERAL)
        if is_unknown(record.modality):
            name, known = printable(record.modality), names[record.source]
            if len(known) < MOST_NAMES:
                known.add(name)
            yield Noted(record.source, UNKNOWN_MODALITY + name if name in known else OTHER_NAMES)


def modality_names(noted: Mapping[str, int]) -> dict[str, int]:
    """The names that are not known -> records, the most frequent first."""
    names = {what.removeprefix(UNKNOWN_MODALITY): n for what, n in noted.items() if what.startswith(UNKNOWN_MODALITY)}
    return {name: names[name] for name in sorted(names, key=lambda name: (-names[name], name))}


def fewer_names(noted: Mapping[str, int], most: int = MOST_NAMES) -> dict[str, int]:
    """The same notes of one source; of modality names that are not known the `most` frequent, the others as one."""
    left_out = {UNKNOWN_MODALITY + name: n for name, n in list(modality_names(noted).items())[most:]}
    kept = {what: n for what, n in noted.items() if what not in left_out}
    return kept | ({OTHER_NAMES: kept.get(OTHER_NAMES, 0) + sum(left_out.values())} if left_out else {})
