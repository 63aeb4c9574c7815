"""Captions that are wrong on purpose: an experiment's corruption, which nobody must take for data."""

from collections.abc import Sequence

from mmkd.curation.settings.sources import AnySource, FoldersSource
from mmkd.randomness import Purpose, generator

DRAWN = "caption names a class drawn at random (wrong_captions)"


def drawn_class(source: FoldersSource, name: str, classes: Sequence[str]) -> str:
    """The class that the caption of the file `name` is to have instead of its own; "" for its own.

    A share `wrong_captions` of the files is drawn, and for each one of all classes with equal probability, its own
    among them: of K classes, (K - 1) / K of the drawn captions are wrong. The draw depends on the file's name and
    `wrong_captions_seed` alone.
    """
    if not source.wrong_captions:
        return ""
    numbers = generator(source.wrong_captions_seed, Purpose.WRONG_CAPTIONS, name)
    if numbers.random() >= source.wrong_captions:
        return ""
    return classes[int(numbers.integers(len(classes)))]


def warning_of(sources: Sequence[AnySource]) -> str:
    """What a user has to be told of sources whose captions are wrong on purpose; "" where there is none."""
    named = [f"{source.name} {share:.0%}" for source in sources if (share := getattr(source, "wrong_captions", 0.0))]
    if not named:
        return ""
    return (
        f"WARNING: wrong_captions: captions name a class drawn at random (source, share: {', '.join(named)}). "
        "This is for experiments: remove the key where the student is meant for use"
    )
