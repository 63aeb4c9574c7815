"""Cases of which `make test` runs some and `make test-all` runs all."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def repetitions(cases: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """Parameters of a test: those in `fast` as they are, the others marked slow. Raises KeyError for unknown ones."""
    known = list(cases)
    if unknown := [one for one in fast if one not in known]:
        raise KeyError(f"no cases {unknown}; there are {known}")
    return [one if one in fast else pytest.param(one, marks=pytest.mark.slow) for one in known]
