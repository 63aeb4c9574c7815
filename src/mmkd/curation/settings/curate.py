"""The recipe section `[curate]`: what is kept of the sources and how it is split."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from mmkd.curation.settings.selection import CaptionSettings, FilterSettings, ModalitySettings, Panels
from mmkd.curation.settings.sources import FIELDS, AnySource
from mmkd.images.hamming import MAX_RADIUS
from mmkd.images.thresholds import DECONTAMINATION, DUPLICATES
from mmkd.settings import RecipePath, Settings


class DuplicateSettings(Settings):
    """What counts as a duplicate beside an id that was there, and the same image bytes with the same cleaned caption.

    near: of a picture whose 64-bit perceptual hash differs in at most `radius` bits from that of an earlier, kept one,
    and whose thumbnail correlates with that one's with at least `correlation` (0: whatever it shows), "keep" all; drop
    it where it is the same "pair", which has an equal caption; or "drop" it whatever its caption, also where its bytes
    are equal.

    radius: bits in which perceptual hashes may differ. correlation: least correlation of the thumbnails, 0 to let
    the hashes decide alone.
    """

    near: Literal["keep", "pair", "drop"] = "keep"
    radius: int = Field(DUPLICATES.radius, ge=0, le=MAX_RADIUS)
    correlation: float = Field(DUPLICATES.correlation, ge=0, le=1)


class CurateSettings(Settings):
    """What is kept of the sources and how it is split.

    modality, captions, filters: sections of their own. panels: compound figures are "keep" left alone, "split" into
    pairs of panel and sub-caption where the caption labels as many as the picture has and else kept whole,
    "split_or_drop" split there and else left out, or "drop" all left out.
    min_side: images with a shorter side (pixels) are dropped. max_side: larger images are resized once, to this many
    pixels on the long side. max_pixels: images that claim more are refused undecoded (decompression bombs).
    min_caption: shortest caption kept, in characters after cleaning. val: share of the *groups* in the split `val`.
    max_rejected: the run stops when a larger share of the records is rejected, for whatever reason; with a higher limit
    the same command goes on from what was read. decontaminate: data-set cards and folders of images whose pictures must
    not be in the corpus, neither as they are nor mirrored or turned: equal bytes, or perceptual hashes that differ in
    at most `decontaminate_radius` bits and thumbnails that correlate with at least `decontaminate_correlation`
    (0..1; with 0 the hashes alone decide). cache_shards: keep the images and all facts that filters look at beside the
    corpus, so that making it anew, with another source or with other filters, reads only what is new. The cache takes
    as much room as all images that can be decoded, and those that the filters would spare are decoded too. It is read
    by max_side and max_pixels and, where `panels` cuts figures, by that, min_side, min_caption and captions.references;
    a change of these reads everything anew.

    wrong_captions: for experiments, that of the sources of kind `folders` that have none of their own. drop_captions:
    for experiments, share (0..1) of all captions that are taken away; their pictures are kept without.

    shard_rows: records of a part, the unit that survives a kill. decontaminate_radius: bits in which perceptual
    hashes may differ from those of an evaluation picture. decontaminate_correlation: least correlation of the
    thumbnails.
    """

    sources: list[AnySource] = Field(min_length=1)
    modality: ModalitySettings = ModalitySettings()
    captions: CaptionSettings = CaptionSettings()
    filters: FilterSettings = FilterSettings()
    panels: Panels = "keep"
    min_side: PositiveInt = 16
    max_side: PositiveInt = 512
    max_pixels: PositiveInt = 89_478_485
    min_caption: PositiveInt = 3
    val: float = Field(0.05, ge=0.0, lt=1.0)
    max_rejected: float = Field(0.5, ge=0.0, le=1.0)
    shard_rows: PositiveInt = 4096
    duplicates: DuplicateSettings = DuplicateSettings()
    decontaminate: list[RecipePath] = []
    decontaminate_radius: int = Field(DECONTAMINATION.radius, ge=0, le=MAX_RADIUS)
    decontaminate_correlation: float = Field(DECONTAMINATION.correlation, ge=0.0, le=1.0)
    cache_shards: bool = False
    wrong_captions: float | None = Field(None, ge=0.0, le=1.0)
    drop_captions: float | None = Field(None, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _known_columns(self) -> "CurateSettings":
        for source in self.sources:
            unknown = set(getattr(source, "columns", {})) - set(FIELDS)
            if unknown:
                raise ValueError(f"columns maps unknown fields {sorted(unknown)}; the fields are {', '.join(FIELDS)}")
        return self
