"""The pictures of the report, all inside the page: worst errors, retrieval examples, attention over slides."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmkd.errors import DataError
from mmkd.evaluation.gallery.choose import turns
from mmkd.evaluation.gallery.examples import GalleryExample, read_gallery
from mmkd.images.decode import decode
from mmkd.reasons import BadRecordError
from mmkd.report import markup
from mmkd.report.source import Evaluated, task_title

HEAT_MAPS = "heat_maps"
BUDGET_BYTES = 4_500_000  # with base64 6 MB: the page stays below 12 MB, plotly.js included
WIDEST_PX = 900
QUALITY = 82


def pictures_section(evaluated: Evaluated) -> Iterator[str]:
    """Errors and queries of every data set, fairly cut where the page would become too large; then heat maps."""
    examples = read_gallery(evaluated.folder)
    maps = heat_maps(evaluated.folder)
    kept = within(examples, BUDGET_BYTES - sum(len(jpeg) for _, jpeg in maps))
    errors = [one for one in kept if one.kind == "error"]
    queries = [one for one in kept if one.kind != "error"]
    if kept or maps:
        yield markup.heading(2, "Pictures", "pictures")
    if errors:
        yield markup.heading(3, "The worst errors")
        yield markup.paragraph(f"What {evaluated.named} was surest of and wrong about.", kind="muted")
        yield from _errors(errors)
    if queries:
        yield markup.heading(3, "Retrieval examples")
        yield from _queries(queries)
    if maps:
        yield markup.heading(3, "Where attention lies on the slides")
        for name, jpeg in maps:
            yield markup.heading(4, name)
            yield markup.picture(jpeg, f"attention heat map of slide {name}", kind="wide")
    if len(kept) < len(examples):
        left = len(examples) - len(kept)
        yield markup.paragraph(f"{left} more pictures lie in the folder gallery of the evaluation.", kind="muted")


def within(examples: Sequence[GalleryExample], budget: int) -> list[GalleryExample]:
    """As many as fit, in their order: the first of every data set, task and kind, then the second, and so on."""
    order = turns([(one.dataset, one.task, one.kind) for one in examples])
    kept = []
    for place in sorted(range(len(examples)), key=lambda place: order[place]):
        budget -= _weight(examples[place])
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


def _weight(one: GalleryExample) -> int:
    return len(one.picture or b"") + sum(len(shown.picture or b"") for shown in one.shown)


def _errors(errors: Sequence[GalleryExample]) -> Iterator[str]:
    for dataset, task in dict.fromkeys((one.dataset, one.task) for one in errors):
        members = [one for one in errors if (one.dataset, one.task) == (dataset, task)]
        yield markup.heading(4, f"{dataset}, {task_title(task).lower()}")
        yield markup.pictures([_error(one) for one in members])


def _error(one: GalleryExample) -> str:
    says = f"{one.asked} {one.id}: {one.truth}, called {one.said}".strip()
    lines = [(one.asked, ""), (f"said: {one.said}", "wrong"), (f"true: {one.truth}", "right")]
    return markup.captioned(one.picture, says, [line for line in lines if line[0]])


def _queries(queries: Sequence[GalleryExample]) -> Iterator[str]:
    for dataset, kind in dict.fromkeys((one.dataset, one.kind) for one in queries):
        yield markup.heading(4, f"{dataset}: {'best' if kind == 'best query' else 'worst'} queries")
        for one in queries:
            if (one.dataset, one.kind) == (dataset, kind):
                yield _query(one)


def _query(one: GalleryExample) -> str:
    rank = f"own match at rank {one.score:g}"
    if one.asked:
        found = [
            markup.captioned(
                shown.picture, shown.text, [("its own" if shown.right else shown.text, _right(shown.right))]
            )
            for shown in one.shown
        ]
        return markup.query(
            markup.captioned(one.picture, f"the picture of the caption: {one.asked}", [("its picture", "")]),
            [markup.paragraph(f"“{one.asked}” finds ({rank})"), markup.pictures(found)],
        )
    found = [markup.marked(shown.text, _right(shown.right)) for shown in one.shown]
    return markup.query(
        markup.captioned(one.picture, f"query picture, captioned: {one.truth}", []),
        [markup.paragraph(f"finds ({rank})"), markup.ordered(found), markup.paragraph(f"its caption: {one.truth}")],
    )


def _right(is_right: bool) -> str:
    return "right" if is_right else "wrong"
