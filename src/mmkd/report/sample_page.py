"""Pairs of a corpus on a page: the picture as training sees it, its whole caption, and where it is from."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmkd.curation.ledger.examples import thumbnail
from mmkd.report import markup

TOLD = ("source", "licence", "modality_evidence", "labels", "language")


def sample_page(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """rows: of a corpus, with all its columns and `image` as encoded bytes."""
    shown = [_pair(row) for row in rows]
    counted = f"{len(rows):,} pair{'s' * (len(rows) != 1)}"
    return markup.page(title, [markup.heading(1, title), markup.paragraph(counted, kind="muted"), *shown])


def _pair(row: Mapping[str, Any]) -> str:
    told = " · ".join([f"{row['width']} x {row['height']} pixels", *(row[name] for name in TOLD if row[name])])
    picture = markup.captioned(thumbnail(row["image"]), f"the picture of {row['id']}", [(row["modality"], "")])
    words = [markup.paragraph(row["caption"])]
    if row["caption_original"] != row["caption"]:
        words.append(markup.folded("as the source has it", [markup.paragraph(row["caption_original"])]))
    if row["caption_mention"]:
        words.append(markup.folded("what the text says of it", [markup.paragraph(row["caption_mention"])]))
    return markup.query(picture, [*words, markup.paragraph(row["id"], kind="muted"), markup.paragraph(told, "muted")])
