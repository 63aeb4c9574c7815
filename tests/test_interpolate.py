"""Variables in the strings of recipes and cards."""

import pytest

from mmkd.errors import ConfigError
from mmkd.interpolate import expand


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${DATA}/x", "/data/x"),
        ("${DATA:-/other}/x", "/data/x"),
        ("${NONE:-/other}/x", "/other/x"),
        ("${NONE:-}x", "x"),
        ("${EMPTY:-y}", "y"),
        ("${EMPTY}", ""),
        ("${DATA}${DATA}", "/data/data"),
        ("costs 5$", "costs 5$"),
        ("$DATA", "$DATA"),
    ],
)
def test_expand_replaces_variables_in_a_string(text: str, expected: str) -> None:
    assert expand(text, {"DATA": "/data", "EMPTY": ""}) == expected


def test_expand_follows_tables_and_lists_and_leaves_other_values() -> None:
    value = {"path": "${D}", "deep": [{"path": "${D}/a"}, 3, True, None], "n": 1.5, "${D}": "key"}
    assert expand(value, {"D": "d"}) == {
        "path": "d",
        "deep": [{"path": "d/a"}, 3, True, None],
        "n": 1.5,
        "${D}": "key",
    }


def test_a_replaced_value_is_not_expanded_again() -> None:
    assert expand("${A}", {"A": "${B}"}) == "${B}"


def test_an_unset_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="variable NOWHERE is not set; set it in the environment"):
        expand(["fine", {"path": "${NOWHERE}/x"}], {})


@pytest.mark.parametrize("text", ["${}", "${1A}", "${A", "${A-b}"])
def test_a_malformed_variable_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="does not open a variable"):
        expand(text, {"A": "a"})
