"""What a caption says of each panel: "Brain. (A) CT. (B, C) MRI" is "Brain. CT" of a and "Brain. MRI" of b and c."""

import re
import string

# "(A)", "(a–c)", "(a, b)", "A)" and, at the start of a sentence, "A:" or "A." before a capital
_LETTERS = r"[A-Za-z](?:\s?(?:[-–,&]|and)\s?[A-Za-z])*"
_MARK = re.compile(
    rf"\((?P<round>{_LETTERS})\)|(?:(?<=^)|(?<=[.;:]\s))(?P<half>{_LETTERS})\)|(?:(?<=^)|(?<=[.;]\s))(?P<plain>[A-Za-z])[:,.](?=\s)"
)
_RANGE = re.compile(r"([a-z])\s?[-–]\s?([a-z])")
_ENDED = re.compile(r"(?:^|[.:;,])\s*$")


def sub_captions(caption: str) -> dict[str, str]:
    """Label ("a", "b", ... without a gap) -> what the caption says of it, with what it says of all in front.

    Empty where the caption has fewer than two labels, where they do not come in their order, or where they stand behind
    what they label ("a cyst (a) and its wall (b)"): what belongs to which would be a guess.
    """
    marks = [(match, _labels_of(match)) for match in _MARK.finditer(caption)]
    labels = [label for _, several in marks for label in several]
    if len(labels) < 2 or labels != list(string.ascii_lowercase[: len(labels)]):
        return {}
    common = caption[: marks[0][0].start()]
    if not _ENDED.search(common):
        return {}
    found = {}
    ends = [*(match.start() for match, _ in marks[1:]), len(caption)]
    for (match, several), end in zip(marks, ends, strict=True):
        own = re.sub(r"[ ,;:.]+(?:and)?[ ,;:.]*$", "", caption[match.end() : end]).lstrip(" ,;:.")
        if not own:
            return {}
        found.update(dict.fromkeys(several, " ".join(f"{common} {own}".split())))
    return found


def _labels_of(match: re.Match[str]) -> list[str]:
    text = next(group for group in match.groups() if group).lower()
    if ends := _RANGE.fullmatch(text):
        first, last = (string.ascii_lowercase.index(letter) for letter in ends.groups())
        return list(string.ascii_lowercase[first : last + 1])
    return re.findall(r"\b[a-z]\b", text)
