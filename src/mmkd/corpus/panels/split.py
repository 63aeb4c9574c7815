"""A figure and its caption, to one pair or to one a panel."""

from dataclasses import dataclass

from PIL import Image

from mmkd.corpus.panels.gutters import Box, panel_boxes
from mmkd.corpus.panels.sub_captions import sub_captions
from mmkd.corpus.records import BadRecordError, Reason
from mmkd.corpus.selection import Panels

WHOLE = "whole"


@dataclass(frozen=True)
class Panel:
    """label: "" of a single figure, `whole` of a compound one in one piece, else its letter. box: None is all of it."""

    label: str
    caption: str
    box: Box | None


def panels_of(
    picture: Image.Image, caption: str, choice: Panels, min_side: int = 1, min_caption: int = 1
) -> list[Panel]:
    """What becomes of a figure.

    keep: it stays as it is, and is not looked at. drop: raises BadRecordError for a compound one. split: one pair a
    panel where the caption labels as many panels as the picture has, and each is large enough (shorter side in pixels)
    and has enough said of it (characters); else in one piece.
    """
    if choice == "keep":
        return [Panel("", caption, None)]
    boxes, captions = panel_boxes(picture), sub_captions(caption)
    if len(boxes) < 2 and len(captions) < 2:
        return [Panel("", caption, None)]
    if choice == "drop":
        detail = f"{len(boxes)} panels seen, {len(captions)} labelled in the caption (panels)"
        raise BadRecordError(Reason.COMPOUND, detail)
    too_small = any(min(box.width, box.height) < min_side for box in boxes)
    if len(boxes) != len(captions) or too_small or any(len(own) < min_caption for own in captions.values()):
        return [Panel(WHOLE, caption, None)]
    return [Panel(label, own, box) for (label, own), box in zip(captions.items(), boxes, strict=True)]
