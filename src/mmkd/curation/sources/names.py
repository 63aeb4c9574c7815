"""What a source is called that its recipe does not name: after what it reads, never after its place among the others.

A name stands in the ids of records that have none of their own, in their groups, and in the names of cached shards. So
one more source must rename no other.
"""

import os
import re
import unicodedata
from typing import Any

from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import AnySource, FoldersSource
from mmkd.errors import ConfigError
from mmkd.folders.remote import Urls

_SPLITS = frozenset(("test", "train", "training", "val", "valid", "validation"))
_TABLES = frozenset(("captions", "index", "meta", "metadata", "pairs", "table", "tables"))
GENERIC = _SPLITS | _TABLES | {"corpus", "data", "files", "images", "parts", "samples", "shards"}
"""Names of files and folders that say which part of a collection something is, not which collection."""
PRIVATE = ("dicom",)  # kinds whose file names are not used: a folder may be called after its patient
_SUFFIX = re.compile(r"(?<=.)(?:\.[A-Za-z][A-Za-z0-9]*)+$")  # v1.2 has none
_PATTERN = re.compile(r"[*?\[]")
_UNSAFE = re.compile(r"[^\w.-]+")


def named_sources(settings: CurateSettings) -> list[AnySource]:
    """The sources as they are read, each with a name: its own, or `name_of` it; and those of folders with the share of
    wrong captions of all, where they have none of their own. Raises ConfigError when two have the same name."""
    named = [source.model_copy(update=_filled_in(source, settings)) for source in settings.sources]
    first: dict[str, int] = {}
    for place, source in enumerate(named):
        earlier = first.setdefault(source.name, place)
        if earlier != place:
            raise ConfigError(
                f"[curate] the name {source.name!r} is taken twice, by sources "
                f"{earlier + 1} ({_where(named[earlier])}) and {place + 1} ({_where(source)}); "
                f"a source without a name is called after its file or folder; "
                f"give one of them another: name = ..."
            )
    return named


def _filled_in(source: AnySource, settings: CurateSettings) -> dict[str, Any]:
    found: dict[str, Any] = {"name": source.name or name_of(source)}
    if isinstance(source, FoldersSource) and "wrong_captions" not in source.model_fields_set:
        found["wrong_captions"] = 0.0 if source.keeps_captionless else settings.wrong_captions or 0.0
    return found


def name_of(source: AnySource) -> str:
    """The last part of the path that is neither GENERIC nor a pattern, without its suffix: `roco` of `roco/pairs.csv`,
    `pmc_oa` of `pmc_oa/parts/*.parquet`, `name` of the hub's `owner/name`. Where no part is left, the kind; so it is
    where names are PRIVATE."""
    if source.kind in PRIVATE:
        return source.kind
    path = source.path.home if isinstance(source.path, Urls) else source.path
    parts = os.path.normpath(path).split(os.sep)
    cleaned = [_cleaned(part) for part in reversed(parts) if part != os.pardir and not _PATTERN.search(part)]
    return next((name for name in cleaned if name and name.lower() not in GENERIC), source.kind)


def _cleaned(part: str) -> str:
    """Without suffix, in NFC (as no file system changes it), letters, digits and `_.-` alone."""
    return _UNSAFE.sub("_", unicodedata.normalize("NFC", _SUFFIX.sub("", part))).strip("_.-")


def _where(source: AnySource) -> str:
    return f"{source.kind}, path {str(source.path)!r}"
