"""Captions that are taken away on purpose: an experiment on pictures without captions."""

from dataclasses import replace

from mmkd.curation.records.record import Record
from mmkd.randomness import Purpose, generator

SEED = 0  # equal captions are dropped in every run: a larger share only drops more


def with_caption_dropped(record: Record, share: float | None) -> Record:
    """The record, or the same without a caption and kept so: a share (0..1) of all, by source and id alone."""
    if not share or generator(SEED, Purpose.DROPPED_CAPTIONS, record.source, record.id).random() >= share:
        return record
    return replace(record, caption="", mention="", captionless=True)


def warning_of_dropped(share: float | None) -> str:
    """What a user has to be told; "" where no caption is dropped."""
    if not share:
        return ""
    return (
        f"WARNING: drop_captions: {share:.0%} of all captions are taken away, their pictures are kept without. This is "
        "for experiments: remove the key where the student is meant for use"
    )
