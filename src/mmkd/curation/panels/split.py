"""A figure and its caption, to one pair or to one a panel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from mmkd.curation.panels.gutters import panel_boxes
from mmkd.curation.panels.sub_captions import sub_captions
from mmkd.curation.settings.selection import Panels
from mmkd.images.box import Box
from mmkd.reasons import BadRecordError, Reason

WHOLE = "whole"
CUTTING: tuple[Panels, ...] = ("split", "split_or_drop")
REJECTING: tuple[Panels, ...] = ("drop", "split_or_drop")


@dataclass(frozen=True)
class Panel:
    """label: "" of a single figure, `whole` of a compound one in one piece, else its letter. box: None is all of it."""

    label: str
    caption: str
    box: Box | None


def panels_of(
    picture: Image.Image,
    caption: str,
    choice: Panels,
    min_side: int = 1,
    min_caption: int = 1,
    fitted: Callable[[str], str] = str,
    boxes: Sequence[Box] | None = None,
) -> list[Panel]:
    """What becomes of a figure.

    keep: it stays as it is, and is not looked at. split: one pair a panel where the caption labels as many panels as
    the picture has, and each is large enough (shorter side in pixels) and has a long enough sub-caption (characters);
    else in one piece. A compound figure is rejected with BadRecordError by drop, and by split_or_drop where it cannot
    be split. fitted: what becomes of the words of each pair once the marks of panels are no longer needed. boxes: those
    of the picture, where they are known already."""
    if choice == "keep":
        return [Panel("", fitted(caption), None)]
    boxes, captions = panel_boxes(picture) if boxes is None else boxes, sub_captions(caption)
    if len(boxes) < 2 and len(captions) < 2:
        return [Panel("", fitted(caption), None)]
    if choice in CUTTING and len(boxes) == len(captions):
        panels = [Panel(label, fitted(own), box) for (label, own), box in zip(captions.items(), boxes, strict=True)]
        if all(min(box.width, box.height) >= min_side for box in boxes) and all(
            len(panel.caption) >= min_caption for panel in panels
        ):
            return panels
    check_compound(len(boxes), len(captions), choice)
    return [Panel(WHOLE, fitted(caption), None)]


def check_compound(seen: int, labelled: int, choice: Panels) -> None:
    """Of a figure that stays in one piece, from the numbers of panels that its picture shows and its caption labels.

    Raises BadRecordError where the choice rejects it.
    """
    if choice not in REJECTING or max(seen, labelled) < 2:
        return
    detail = f"{seen} panels seen, {labelled} labelled in the caption (panels)"
    if choice in CUTTING and seen == labelled:
        detail += ", but one is too small or too little is said of it (min_side, min_caption)"
    raise BadRecordError(Reason.COMPOUND, detail)
