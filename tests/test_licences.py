"""What the words of a licence mean, and which of several binds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.licences import CLASSES, UNKNOWN, licence_class, strictest


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", "permissive"),
        ("Apache-2.0", "permissive"),
        ("CC BY 4.0", "permissive"),
        ("CC0", "permissive"),
        ("CC-BY-SA-4.0", "share-alike"),
        ("GPLv3", "share-alike"),
        ("CC-BY-NC-4.0", "non-commercial"),
        ("CC BY-NC-SA 4.0", "non-commercial"),
        ("research use only", "non-commercial"),
        ("CC-BY-NC-ND 4.0", "no derivatives"),
        ("https://creativecommons.org/licenses/by/4.0/", "permissive"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "permissive"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "permissive"),
        ("https://creativecommons.org/licenses/by-nd/4.0/deed.de", "no derivatives"),
        ("Creative Commons Attribution 4.0 International", "permissive"),
        ("Creative Commons Zero v1.0 Universal", "permissive"),
        ("Creative Commons Attribution-NonCommercial-NoDerivs 3.0 Unported", "no derivatives"),
        ("distributed under the Creative Commons Attribution License, which permits unrestricted use", "permissive"),
        ("CC BY 4.0, which permits commercial and non-commercial re-use", "permissive"),
        ("Creative Commons Attribution Non-Commercial License; for commercial re-use, ask us", "non-commercial"),
        ("GNU Lesser General Public License", "share-alike"),
        ("not for commercial use", "non-commercial"),
        ("Kvasir-SEG: research and education use, cite Jha 2020", "non-commercial"),
        ("MIT; card: research use only", "non-commercial"),
        ("permits use for research", UNKNOWN),
        ("Journal of Medical Research, CC BY 4.0", "permissive"),
        ("PMC open access article PMC1 (licence per article); MIT repository", UNKNOWN),
        ("Apache-2.0 repository; each demo image comes from a public data set with its own terms", UNKNOWN),
        ("TCGA open access via MIT repository", UNKNOWN),
        ("TCGA-UT (Komura 2021, CC BY-NC-SA 4.0) via MIT repository", "non-commercial"),
        ("CC BY-NC 4.0 repository", "non-commercial"),
        ("MIT (repository LICENSE)", "permissive"),
        ("none stated in the repository; Kaggle has it as CC0", UNKNOWN),
        ("CC BY 4.0; nothing stated in this repository", "permissive"),
        ("no licence for the weights; the code is MIT", UNKNOWN),
        ("Creative Commons, version not stated", UNKNOWN),
        ("NO-CC CODE", UNKNOWN),
        ("limited, permitted by nobody", UNKNOWN),
        ("unclear", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_licence_classes(licence: str, expected: str) -> None:
    assert licence_class(licence) == expected


CODES = {
    "by": "permissive",
    "by-sa": "share-alike",
    "by-nc": "non-commercial",
    "by-nc-sa": "non-commercial",
    "by-nd": "no derivatives",
    "by-nc-nd": "no derivatives",
}
LONG = {"by": "Attribution", "sa": "ShareAlike", "nc": "NonCommercial", "nd": "NoDerivatives"}
VERSIONS = st.sampled_from(["", "2.0", "3.0", "4.0"])


@given(st.sampled_from(sorted(CODES)), VERSIONS, st.sampled_from("- _"), st.booleans(), st.sampled_from(["", "s"]))
def test_all_spellings_of_a_creative_commons_licence_are_of_one_class(
    code: str, version: str, blank: str, loud: bool, secure: str
) -> None:
    parts = code.split("-")
    spellings = [
        f"cc-{code} {version}",
        f"CC{blank}{blank.join(parts)}{blank}{version}",
        f"http{secure}://creativecommons.org/licenses/{code}/{version}",
        f"Creative Commons {blank.join(LONG[part] for part in parts)} {version} International",
    ]
    for text in [*spellings, *(f"This article is under {one}." for one in spellings)]:
        assert licence_class(text.upper() if loud else text) == CODES[code], text


@given(st.text(max_size=40))
def test_any_text_has_a_class(text: str) -> None:
    assert licence_class(text) in (*CLASSES, UNKNOWN)


def test_the_strictest_licence_wins_and_none_is_the_strictest() -> None:
    assert strictest(["MIT", "CC-BY-NC-4.0", "CC-BY-SA-4.0"]) == "non-commercial"
    assert strictest(["MIT", "nothing stated"]) == UNKNOWN
    assert strictest(["MIT"]) == next(iter(CLASSES))
    assert strictest([]) == UNKNOWN
