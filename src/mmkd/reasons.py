"""Why a picture, a caption or a record cannot be used: one list for curation, extraction and evaluation."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a record is not in the corpus; the values stand in `rejected.parquet` and `funnel.json`."""

    MISSING_FIELD = "missing_field"  # no image or no caption at all
    MISSING_FILE = "missing_file"  # the image named is not there
    OUTSIDE_FOLDER = "outside_folder"  # the image named lies outside the source's folder, or is a URL
    OVERSIZED_FILE = "oversized_file"  # an image file or archive member too large to be read
    DAMAGED_FILE = "damaged_file"  # the rest of an archive or table cannot be read
    OTHER_FILE = "other_file"  # found among the samples and none: of another kind, or no regular file
    UNREADABLE_ROW = "unreadable_row"  # not a row of this table: broken JSON, wrong number of fields, unknown label
    NOT_UTF8 = "not_utf8"
    MISSING_REPORT = "missing_report"  # no report, or several different ones, for a picture
    MISSING_PICTURE = "missing_picture"  # a report for which the source has no picture
    MISSING_SECTION = "missing_section"  # the report has none of the sections that are asked for
    EMPTY_CAPTION = "empty_caption"  # nothing left after cleaning
    SHORT_CAPTION = "short_caption"
    LONG_CAPTION = "long_caption"  # an article, not a caption
    UNREADABLE_IMAGE = "unreadable_image"
    TRUNCATED_IMAGE = "truncated_image"
    DECOMPRESSION_BOMB = "decompression_bomb"  # claims more pixels than max_pixels
    TINY_IMAGE = "tiny_image"
    # from here on: filters and choices that a recipe makes, all off by default
    LICENCE = "licence"
    LANGUAGE = "language"
    NO_CONTENT = "no_content"  # a caption of references alone
    NONCLINICAL = "nonclinical_figure"
    UNSURE_MODALITY = "unsure_modality"
    ASPECT = "aspect"
    BLANK = "blank_image"
    COMPOUND = "compound_figure"
    BURNT_IN_TEXT = "burnt_in_text"  # a DICOM header says so: it may name the patient
    DUPLICATE_ID = "duplicate_id"
    DUPLICATE_PAIR = "duplicate_pair"  # same image bytes and same cleaned caption as an earlier record
    NEAR_DUPLICATE = "near_duplicate"  # a picture like that of an earlier record, see [curate.duplicates]
    CONTAMINATED = "contaminated"  # a picture of an evaluation set, see [curate] decontaminate


NO_CAPTION = (Reason.MISSING_FIELD, Reason.MISSING_SECTION)
"""Where they are said of a caption or of a report, there is none."""


class BadRecordError(Exception):
    """This record cannot be used. Caught once per record, where it becomes a `Rejected`; never reaches the user."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
