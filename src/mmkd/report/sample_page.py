"""Pairs of a corpus on a page: the image as training reads it, its whole caption, and its origin."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmkd.curation.ledger.examples import thumbnail
from mmkd.report.render import render

ORIGIN = ("source", "licence", "modality_evidence", "labels", "language")


def sample_page(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """rows: of a corpus, with all its columns and `image` as encoded bytes."""
    pairs = [{**row, "image": thumbnail(row["image"])} for row in rows]
    return render("sample.html", title=title, pairs=pairs, origin=ORIGIN)
