"""A split of a curated corpus as a data set."""

from collections.abc import Iterator

from mmkd.cards.card import Card
from mmkd.cards.layouts import CorpusLayout
from mmkd.cards.samples import CorpusImage, Sample, corpus_of


def read_corpus(card: Card, layout: CorpusLayout) -> Iterator[Sample]:
    """The pairs of the split, as test samples; pictures without a caption are none."""
    corpus = corpus_of(layout.path)
    ids, captions, groups = (corpus.column(name) for name in ("id", "caption", "group"))
    for row in corpus.pairs(layout.split):
        yield Sample(ids[row], (CorpusImage(layout.path, int(row)),), caption=captions[row], group=groups[row])
