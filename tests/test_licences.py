"""What the words of a licence mean, and which of several binds."""

import pytest

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
        ("limited, permitted by nobody", UNKNOWN),
        ("unclear", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_licence_classes(licence: str, expected: str) -> None:
    assert licence_class(licence) == expected


def test_the_strictest_licence_wins_and_none_is_the_strictest() -> None:
    assert strictest(["MIT", "CC-BY-NC-4.0", "CC-BY-SA-4.0"]) == "non-commercial"
    assert strictest(["MIT", "nothing stated"]) == UNKNOWN
    assert strictest(["MIT"]) == next(iter(CLASSES))
    assert strictest([]) == UNKNOWN
