"""Groups out of names: where a source tells of no article or patient, its paths and ids often do."""

import re
from collections.abc import Iterable
from itertools import islice

from mmkd.curation.settings.curate import Source
from mmkd.errors import ConfigError

LOOKED_AT = 1024  # names among which the pattern must match one


def group_in(source: Source, *names: str) -> str:
    """What the first group of the source's pattern `group` takes of the first name that matches; "" where none does."""
    if not source.group:
        return ""
    found = (match[1] for name in names if (match := re.search(source.group, name)) is not None)
    return next((group for group in found if group), "")


def check_group(source: Source, names: Iterable[str]) -> None:
    """Raise ConfigError when `group` finds nothing in any of the first names. They are drawn only where it is set."""
    if not source.group:
        return
    looked_at = []
    for name in islice(names, LOOKED_AT):
        if group_in(source, name):
            return
        looked_at.append(name)
    if looked_at:
        raise ConfigError(
            f"source {source.name!r}: group = {source.group!r} matches none of {len(looked_at)} names, the first of "
            f"them {looked_at[0]!r}; it is searched in paths as they stand below the source, and in ids"
        )
