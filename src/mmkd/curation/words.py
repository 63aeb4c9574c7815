"""What a record says, cleaned and read once, before anything is decided about it."""

from dataclasses import dataclass

from mmkd.curation.captions.clean import clean_caption
from mmkd.curation.captions.language import language_of
from mmkd.curation.captions.references import strip_references
from mmkd.curation.evidence.caption import NAMED, caption_vote
from mmkd.curation.evidence.vote import Vote
from mmkd.curation.filters.facts import WordFacts
from mmkd.curation.records.record import Record
from mmkd.curation.settings.curate import CurateSettings
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import as_text

MAX_CAPTION = 10_000  # characters; longer ones are articles, and the cleaning rules are not made for them
TEXT = ("id", "source", "licence", "group", "where", "caption_original")


@dataclass(frozen=True)
class Figure:
    """What is said of a whole record. text: the columns TEXT, as they are. marked: the caption with the marks of its
    panels. caption: what is left of it as the caption of one pair."""

    text: dict[str, str]
    marked: str
    caption: str
    stated: str
    labels: tuple[str, ...]
    mention: str
    language: str


@dataclass(frozen=True)
class Words:
    """What is said of one pair: a figure in one piece, or a panel of it. panel: as in the corpus. vote: of caption."""

    figure: Figure
    panel: str
    caption: str
    vote: Vote | None

    @property
    def named(self) -> bool:
        """Whether the caption names a modality outright."""
        return self.vote is not None and self.vote.trust >= NAMED


def figure_of(record: Record, settings: CurateSettings, everything: bool = False) -> Figure:
    """Raises BadRecordError for a caption that is empty, too short or too long, and for what is not UTF-8.

    everything: work out what these settings have no use for as well.
    """
    original, marked = caption_of(record)
    caption = usable(marked, original, settings)
    named = {name: as_text(getattr(record, name)) for name in TEXT if name != "caption_original"}
    mention = as_text(record.mention)[:MAX_CAPTION]
    return Figure(
        text=named | {"caption_original": original},
        marked=marked,
        caption=caption,
        stated=as_text(record.modality),
        labels=tuple(as_text(label) for label in record.labels),
        mention=clean_caption(mention) if everything or settings.captions.mention else "",
        language=language_of(caption) if everything or wants_language(settings) else "",
    )


def caption_of(record: Record) -> tuple[str, str]:
    """The caption as the source has it, and clean; no setting counts. Raises BadRecordError."""
    original = as_text(record.caption)
    if len(original) > MAX_CAPTION:
        raise BadRecordError(Reason.LONG_CAPTION, f"{len(original):,} characters, at most {MAX_CAPTION:,} are taken")
    return original, clean_caption(original)


def usable(marked: str, original: str, settings: CurateSettings) -> str:
    """What is left of a clean caption; original: for the message. Raises BadRecordError where that is too little."""
    caption = fitted(marked, settings)
    if not caption:
        raise BadRecordError(Reason.EMPTY_CAPTION, f"nothing is left of {original[:40]!r} after cleaning")
    if len(caption) < settings.min_caption:
        raise BadRecordError(Reason.SHORT_CAPTION, f"{caption!r} is shorter than {settings.min_caption} (min_caption)")
    return caption


def fitted(caption: str, settings: CurateSettings) -> str:
    """A clean caption, of a figure or a panel, as a pair has it."""
    return strip_references(caption) if settings.captions.references == "strip" else caption


def wants_language(settings: CurateSettings) -> bool:
    """Whether the column `language` is filled."""
    return settings.captions.language == "tag" or bool(settings.filters.languages)


def words_of(figure: Figure, panel: str = "", caption: str | None = None) -> Words:
    """Of the figure as it is, or of a panel that `caption` speaks of."""
    own = figure.caption if caption is None else caption
    return Words(figure, panel, own, caption_vote(own))


def word_facts(figure: Figure, words: Words | None = None) -> WordFacts:
    """For the filters; without `words` for those on the figure, which look at no caption."""
    caption, named = (words.caption, words.named) if words else (figure.caption, False)
    return WordFacts(caption, figure.labels, figure.text["licence"], figure.language, named)
