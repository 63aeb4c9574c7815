"""A figure and its caption, to one pair or to one a panel.

What a caption says of each panel: "Brain. (A) CT. (B, C) MRI" is "Brain. CT" of a and "Brain. MRI" of b and c.
"""

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from mmkd.curation.panels.gutters import panel_boxes
from mmkd.curation.settings.selection import Panels
from mmkd.images.box import Box
from mmkd.reasons import BadRecordError, Reason

# "(A)", "(a–c)", "(a, b)", "A)" and, at the start of a sentence, "A:" or "A." before a capital
_LETTERS = r"[A-Za-z](?:\s?(?:[-–,&]|and)\s?[A-Za-z])*"
_MARK = re.compile(
    rf"\((?P<round>{_LETTERS})\)|(?:(?<=^)|(?<=[.;:]\s))(?P<half>{_LETTERS})\)|(?:(?<=^)|(?<=[.;]\s))(?P<plain>[A-Za-z])[:,.](?=\s)"
)
_RANGE = re.compile(r"([a-z])\s?[-–]\s?([a-z])")
_ENDED = re.compile(r"(?:^|[.:;,])\s*$")
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
    """What becomes of a figure that is looked at, as it is not where `choice` is keep.

    split: one pair a panel where the caption labels as many panels as
    the picture has, and each is large enough (shorter side in pixels) and has a long enough sub-caption (characters);
    else in one piece. A compound figure is rejected with BadRecordError by drop, and by split_or_drop where it cannot
    be split. fitted: what becomes of the words of each pair once the marks of panels are no longer needed. boxes: those
    of the picture, where they are known already."""
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


def sub_captions(caption: str) -> dict[str, str]:
    """Label ("a", "b", ... without a gap) -> what the caption says of it, with what it says of all in front.

    Empty where the caption has fewer than two labels, where they do not come in their order, or where they stand behind
    what they label ("a cyst (a) and its wall (b)"): what belongs to which would be a guess.
    """
    marks = [(match, _labels_of(match)) for match in _MARK.finditer(caption)]
    labels = [label for _, several in marks for label in several]
    if len(labels) < 2 or labels != list(string.ascii_lowercase[: len(labels)]):
        return {}
    common = caption[: marks[0][0].start()]
    if not _ENDED.search(common):
        return {}
    found = {}
    ends = [*(match.start() for match, _ in marks[1:]), len(caption)]
    for (match, several), end in zip(marks, ends, strict=True):
        own = re.sub(r"[ ,;:.]+(?:and)?[ ,;:.]*$", "", caption[match.end() : end]).lstrip(" ,;:.")
        if not own:
            return {}
        found.update(dict.fromkeys(several, " ".join(f"{common} {own}".split())))
    return found


def _labels_of(match: re.Match[str]) -> list[str]:
    text = next(group for group in match.groups() if group).lower()
    if ends := _RANGE.fullmatch(text):
        first, last = (string.ascii_lowercase.index(letter) for letter in ends.groups())
        return list(string.ascii_lowercase[first : last + 1])
    return re.findall(r"\b[a-z]\b", text)
