"""The images of the report, all inside the page: confident errors, retrieval examples, attention heat maps."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkd.errors import DataError
from mmkd.evaluation.gallery.examples import GalleryExample, read_gallery, turns
from mmkd.images.decode import decode
from mmkd.reasons import BadRecordError
from mmkd.report.source import Evaluated, task_title

HEAT_MAPS = "heat_maps"
BUDGET_BYTES = 4_500_000  # with base64 6 MB: a page that a browser still opens at once
WIDEST_PX = 900
QUALITY = 82


def pictures_section(evaluated: Evaluated) -> dict[str, Any] | None:
    """Errors and queries of every data set, cut evenly where the page would become too large; then heat maps."""
    examples, maps = read_gallery(evaluated.folder), heat_maps(evaluated.folder)
    kept = within(examples, BUDGET_BYTES - sum(len(jpeg) for _, jpeg in maps))
    if not kept and not maps:
        return None
    return {
        "named": evaluated.named,
        "errors": _by_title([one for one in kept if one.kind == "error"]),
        "queries": _by_title([one for one in kept if one.kind != "error"]),
        "heat_maps": maps,
        "left": len(examples) - len(kept),
    }


def _by_title(examples: Sequence[GalleryExample]) -> dict[str, list[GalleryExample]]:
    found: dict[str, list[GalleryExample]] = {}
    for one in examples:
        task = task_title(one.task).lower()
        title = f"{one.dataset}, {task}" if one.kind == "error" else f"{one.dataset}: {one.kind.split()[0]} queries"
        found.setdefault(title, []).append(one)
    return found


def within(examples: Sequence[GalleryExample], budget: int) -> list[GalleryExample]:
    """As many as fit, in their order: the first of every data set, task and kind, then the second, and so on."""
    order = turns([(one.dataset, one.task, one.kind) for one in examples])
    kept = []
    for place in sorted(range(len(examples)), key=lambda place: order[place]):
        one = examples[place]
        budget -= len(one.picture or b"") + sum(len(shown.picture or b"") for shown in one.shown)
        if budget < 0:
            break
        kept.append(place)
    return [examples[place] for place in sorted(kept)]


def heat_maps(folder: Path) -> list[tuple[str, bytes]]:
    """Name and JPEG of every picture in `heat_maps`, by name, while they take half of the page's pictures at most.

    Raises DataError for a file that is no picture.
    """
    found, left = [], BUDGET_BYTES // 2
    for path in sorted((folder / HEAT_MAPS).rglob("*.png")):
        jpeg = _narrowed(path)
        left -= len(jpeg)
        if left < 0:
            break
        found.append((path.relative_to(folder / HEAT_MAPS).with_suffix("").as_posix(), jpeg))
    return found


def _narrowed(path: Path) -> bytes:
    buffer = io.BytesIO()
    try:
        image = decode(path.read_bytes())
    except (OSError, BadRecordError) as error:
        raise DataError(f"{path}: not readable as a picture ({error}); evaluate again") from error
    image.thumbnail((WIDEST_PX, 2 * WIDEST_PX))
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()
