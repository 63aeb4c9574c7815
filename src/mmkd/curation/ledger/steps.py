"""The steps of curation in their order, and the reasons for which a record leaves at each."""

from mmkd.reasons import Reason

KEPT = "kept"
SOURCE = "source"
FILTERS = "filters"
CAPTIONLESS, CAPTIONLESS_TRAIN = "captionless", "captionless_train"
"""Counts of a corpus with pictures without captions: of all, and of those in the split `train`."""
JOINED, IN_BOTH_SPLITS = "in_group_of_same_picture", "pictures_in_both_splits"
"""Counts of a corpus with one picture in several records: records without a group that are in another's, and pictures
that are in both splits since several groups are given for them."""

# In the order in which a figure in one piece meets them. The words and the modality of a panel come after its image.
# What labels or caption show to be nonclinical is rejected before its image but counted with what the image shows so.
# A reason that stands nowhere here is a filter's.
STEPS: dict[str, tuple[str, ...]] = {
    SOURCE: (
        Reason.MISSING_FIELD,
        Reason.MISSING_FILE,
        Reason.OUTSIDE_FOLDER,
        Reason.OVERSIZED_FILE,
        Reason.DAMAGED_FILE,
        Reason.OTHER_FILE,
        Reason.UNREADABLE_ROW,
        Reason.NOT_UTF8,
        Reason.MISSING_REPORT,
        Reason.MISSING_PICTURE,
        Reason.MISSING_SECTION,
        Reason.BURNT_IN_TEXT,  # no example of it may be shown
    ),
    "caption": (
        Reason.LONG_CAPTION,
        Reason.EMPTY_CAPTION,
        Reason.SHORT_CAPTION,
    ),
    "metadata": (Reason.LICENCE, Reason.LANGUAGE, Reason.NO_CONTENT, Reason.UNSURE_MODALITY),
    "image": (Reason.UNREADABLE_IMAGE, Reason.DECOMPRESSION_BOMB, Reason.TINY_IMAGE, Reason.TRUNCATED_IMAGE),
    FILTERS: (Reason.COMPOUND, Reason.ASPECT, Reason.BLANK, Reason.NONCLINICAL),
    "decontamination": (Reason.CONTAMINATED,),
    "duplicates": (Reason.DUPLICATE_ID, Reason.DUPLICATE_PAIR, Reason.NEAR_DUPLICATE),
}
_STEP_OF = {str(reason): step for step, reasons in STEPS.items() for reason in reasons}


def step_of(reason: str) -> str:
    """The step at which a record with this reason left."""
    return _STEP_OF.get(reason, FILTERS)
