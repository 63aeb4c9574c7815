"""What a wrong TOML file gets told."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, PositiveInt, field_validator

from mmkd.errors import ConfigError
from mmkd.settings import RecipePath, Settings
from mmkd.validation import parse, read_toml


class Folder(Settings):
    kind: Literal["folder"]
    path: RecipePath


class Archive(Settings):
    kind: Literal["archive"]
    files: list[str] = Field(default_factory=list)
    inner: Folder | None = None


class Step(Settings):
    weight: float = Field(1.0, ge=0.0, alias="lambda")
    epochs: PositiveInt = 1

    @field_validator("epochs")
    @classmethod
    def _even(cls, epochs: int) -> int:
        if epochs > 1 and epochs % 2:
            raise ValueError(f"must be even, found {epochs}")
        return epochs


class Whole(Settings):
    name: str
    step: Step = Step()
    sources: list[Annotated[Folder | Archive, Field(discriminator="kind")]] = Field(default_factory=list)
    named: dict[str, Step] = Field(default_factory=dict)


def message(data: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(Whole, data, "recipe.toml")
    return str(caught.value)


def test_good_data_becomes_the_model_and_paths_stand_beside_the_file() -> None:
    data = {"name": "a", "sources": [{"kind": "folder", "path": "x"}], "step": {"lambda": 0.5}}
    whole = parse(Whole, data, "recipe.toml", {"base": Path("/data")})
    assert whole.step.weight == 0.5
    assert whole.sources[0] == Folder(kind="folder", path=Path("/data/x"))


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    assert message({"name": "a", "step": {"lamda": 1}}) == (
        "recipe.toml: unknown key 'step.lamda'; did you mean 'lambda'?"
    )


def test_an_unknown_key_far_from_all_lists_what_is_known() -> None:
    assert message({"name": "a", "step": {"zzz": 1}}).endswith("unknown key 'step.zzz'; known are epochs, lambda")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"sources": [{"kind": "folder", "pth": "x"}]}, ["sources[0].path: missing", "'sources[0].pth'; did you mean"]),
        ({"sources": [{"kind": "archive", "file": []}]}, ["'sources[0].file'; did you mean 'files'?"]),
        (
            {"sources": [{"kind": "archive", "inner": {"kind": "folder", "path": "x", "paht": 1}}]},
            ["'sources[0].inner.paht'; did you mean 'path'?"],
        ),
        ({"named": {"epochs": {"epoch": 2}}}, ["'named.epochs.epoch'; did you mean 'epochs'?"]),
    ],
)
def test_places_lead_through_lists_unions_and_tables(data: dict[str, object], expected: list[str]) -> None:
    told = message({"name": "a", **data})
    assert all(part in told for part in expected)


def test_an_unknown_tag_lists_the_known_ones() -> None:
    told = message({"name": "a", "sources": [{"kind": "floder"}]})
    assert "sources[0]: " in told
    assert "'floder'" in told
    assert "'folder', 'archive'" in told


def test_every_problem_is_listed_with_what_was_found() -> None:
    told = message({"step": {"epochs": 3, "lambda": -1}, "nmae": "a"})
    assert told.splitlines()[0] == "recipe.toml: 4 problems"
    assert "  name: missing" in told
    assert "  step.lambda: should be greater than or equal to 0, found -1" in told
    assert "  step.epochs: must be even, found 3" in told
    assert "  unknown key 'nmae'; did you mean 'name'?" in told


def test_a_long_wrong_value_is_cut() -> None:
    assert len(message({"name": ["x" * 10_000]})) < 200


def test_data_that_is_no_table_at_all() -> None:
    assert message(3).startswith("recipe.toml: ")


@pytest.mark.parametrize(
    ("content", "expected"), [(b"a = ", "not valid TOML"), (b"a = '\xff'", "not valid TOML"), (None, "cannot be read")]
)
def test_read_toml_names_the_file(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "card.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"card.toml: {expected}"):
        read_toml(path)


@pytest.mark.parametrize(
    "content",
    [
        "a = " + "[" * 100_000 + "]" * 100_000,
        "a = " + "{a = " * 100_000 + "1" + "}" * 100_000,
        ".".join("a" * 100_000) + " = 1",
        "[" + ".".join("a" * 100_000) + "]",
        f"a = {'[' * 60}{']' * 60}",
    ],
    ids=["lists", "tables", "dotted key", "dotted table", "a little too deep"],
)
def test_what_is_nested_too_deep_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "card.toml").write_text(content)
    with pytest.raises(ConfigError, match=r"card.toml: not valid TOML: nested too deep; at most 50"):
        read_toml(tmp_path / "card.toml")


def test_what_is_nested_as_deep_as_allowed_is_read(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(f"a = {'[' * 49}1{']' * 49}")
    value: object = read_toml(tmp_path / "card.toml")["a"]
    for _ in range(49):
        assert isinstance(value, list)
        (value,) = value
    assert value == 1
