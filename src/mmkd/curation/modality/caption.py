"""The vote of a caption for its image's modality, by the patterns of the taxonomy, strongest first.

A technique that a caption names is not always that of the image: "CT-guided biopsy", "compared with MRI", "no CT was
done". Such mentions do not count. Where two techniques are left, the vote is for the first, with less trust.
"""

import re
from collections.abc import Iterator

from mmkd.corpus.taxonomy import BY_NAME
from mmkd.curation.modality.patterns import Mention, all_mentions
from mmkd.curation.modality.votes import Vote, agree

# Trust by strength. Of real pairs whose modality is known were right: 289 of 295, 19 of 26, 33 of 34 and 49 of 49. The
# patterns were corrected on these, so the last two, which rest on words of findings, are trusted less than that.
NAMED = 0.95
NAMED_AMONG_OTHERS = 0.7  # two techniques named, this one first
HINTED = 0.85
HINTED_ONCE = 0.8
CONTEXT = 60  # characters before a mention in which it can be taken back

_TAKEN_BACK_BEFORE = re.compile(
    r"(?:\b(?:no|not|non|without|unlike|versus|vs\.?|instead of|rather than|prior to|before|previous|recent|earlier"
    r"|subsequent|follow(?:ing|ed by)|confirmed (?:by|on|with|at)|compar(?:ed|able|ison) (?:with|to)|correspond\w* to"
    r"|correlat\w+ (?:with|to)|seen (?:also )?on the|in contrast to|as opposed to|negative|underwent|candidate for"
    r"|referred for|awaiting|scheduled for|further|guided by|guidance of|recommend\w*)"
    r"(?: (?:the|a|an|any|same|initial|prior|previous|recent|chest|abdominal|brain|contrast|enhanced))*\s*)$",
    re.IGNORECASE,
)
_TAKEN_BACK_AFTER = re.compile(
    r"^(?:[- ](?:guid(?:ed|ance)|confirmed|directed|compatible|negative|proven|based segmentation)"
    r"| (?:is|are|was|were) (?:not|recommended|scheduled|planned|pending|normal|unremarkable|negative))",
    re.IGNORECASE,
)


def caption_vote(caption: str) -> Vote | None:
    """The modality that a caption names, else the one it hints at; None where it does neither, or hints at several."""
    found = list(mentions(caption))
    named = _names(mention for mention in found if mention.named)
    if named:
        first = named[0]
        finest = next((name for name in named if BY_NAME[name].parent == first), first)
        alone = all(agree(name, finest) for name in named)
        return Vote(finest, NAMED if alone else NAMED_AMONG_OTHERS)
    hints = [mention.modality for mention in found]
    if not hints or not all(agree(hint, hints[0]) for hint in hints):
        return None
    return Vote(hints[0], HINTED if len(hints) > 1 else HINTED_ONCE)


def mentions(caption: str) -> Iterator[Mention]:
    """All that count, in the order of the text; of those that overlap, the longest."""
    found = sorted(
        all_mentions(caption), key=lambda mention: (mention.begin, not mention.named, mention.begin - mention.end)
    )
    end = -1
    for mention in found:
        if mention.begin >= end:
            end = mention.end
            if not _taken_back(caption, mention):
                yield mention


def _names(found: Iterator[Mention]) -> list[str]:
    return list(dict.fromkeys(mention.modality for mention in found))


def _taken_back(caption: str, mention: Mention) -> bool:
    before, after = (
        caption[max(0, mention.begin - CONTEXT) : mention.begin],
        caption[mention.end : mention.end + CONTEXT],
    )
    return bool(_TAKEN_BACK_BEFORE.search(before) or _TAKEN_BACK_AFTER.search(after))
