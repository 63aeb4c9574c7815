"""Random numbers by purpose: distinct streams, equal everywhere, and no other source of random numbers."""

import ast
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mmkd.randomness import Purpose, generator, seed_of, torch_generator

SOURCE = Path(__file__).parents[1] / "src" / "mmkd"
NAMED = ("generator", "torch_generator", "seed_of", "seed_sequence")
LOOSE = ("default_rng", "SeedSequence", "RandomState", "Philox", "PCG64")
DERIVED = {  # makes streams of a seed that has a purpose already
    "randomness.py": {"SeedSequence", "Philox"},
    "statistics/bootstrap.py": {"default_rng", "SeedSequence"},
}
DRAWN = ("training/data/augment.py", "evaluation/heads/attention.py")  # seeds drawn by a generator that is passed in


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The calls in a file with the last part of what is called."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = node.func
            yield (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")), node


def purposes_of(path: Path) -> Iterator[str]:
    """The members of Purpose that a file names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Purpose":
            yield node.attr


FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path.name != "randomness.py"]


def test_every_purpose_is_used_in_one_place() -> None:
    used = Counter(name for path in FILES for name in purposes_of(path))
    assert used == Counter(Purpose.__members__.keys())


def test_purposes_have_distinct_streams() -> None:
    words = [zlib.crc32(purpose.encode()) for purpose in Purpose]
    assert len(set(words)) == len(words)
    assert len({generator(0, purpose).integers(2**62) for purpose in Purpose}) == len(Purpose)
    assert len({seed_of(0, purpose) for purpose in Purpose}) == len(Purpose)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_random_numbers_have_a_purpose(path: Path) -> None:
    place = path.relative_to(SOURCE).as_posix()
    for name, call in calls(path):
        assert name not in LOOSE or name in DERIVED.get(place, ()), f"line {call.lineno}: {name} without a purpose"
        if name == "manual_seed" and place not in DRAWN:
            assert ast.unparse(call.args[0]).startswith("seed_of("), f"line {call.lineno}: {ast.unparse(call)}"
        if name in NAMED and not place.startswith("phantom/"):  # worlds have names of their own
            assert ast.unparse(call.args[1]).startswith("Purpose."), f"line {call.lineno}: {ast.unparse(call)}"


def test_a_stream_depends_on_the_seed_and_every_part_of_its_name() -> None:
    names = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", "b"), (0, "ab"), (0, "a", 0, 0)]
    assert len({generator(*name).integers(2**62) for name in names}) == len(names)
    assert len({torch.rand(1, generator=torch_generator(*name)).item() for name in names}) == len(names)
    assert generator(3, "a", 2).integers(2**62) == generator(3, "a", 2).integers(2**62)


def test_streams_are_equal_in_every_process() -> None:
    code = "from mmkd.randomness import *; print(seed_of(7, 'a', 3), generator(7, 'a').integers(2**62))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == [str(seed_of(7, "a", 3)), str(generator(7, "a").integers(2**62))]
    assert (seed_of(0, "a"), int(generator(0, "a").integers(2**31))) == (5213239120382857277, 934156462)


def test_nothing_global_is_touched() -> None:
    before, numbers = torch.random.get_rng_state(), np.random.get_state(legacy=False)
    torch_generator(0, "a")
    generator(0, "a").random()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert str(np.random.get_state(legacy=False)) == str(numbers)
