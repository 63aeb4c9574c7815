"""What was noted of a source's files and records, in words for the user."""

from collections.abc import Mapping

from mmkd.curation.records.notes import OTHER_NAMES, modality_names
from mmkd.images.decode import SEVERAL
from mmkd.modalities.taxonomy import resembling

NAMED = 5  # modalities that are listed


def notes_in_words(source: str, noted: Mapping[str, int]) -> list[str]:
    """Of modalities that are not known, and of pages that are not read."""
    lines = []
    if names := modality_names(noted):
        common, others = list(names.items())[:NAMED], noted.get(OTHER_NAMES, 0)
        listed = ", ".join(f"{name!r} ({count:,}{_meant(name)})" for name, count in common)
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        more += f", and others ({others:,})" if others else ""
        lines.append(
            f"WARNING: {source}: modality names that are not known, taken as other: {listed}{more}; write names "
            "that mmkd knows (x-ray, ct, mri, ultrasound ..., all in modalities.toml of the package)"
        )
    if several := noted.get(SEVERAL):
        lines.append(f"WARNING: {source}: {several:,} files have several pages or frames; only the first is read")
    return lines


def _meant(name: str) -> str:
    return f", did you mean {found!r}?" if (found := resembling(name)) else ""
