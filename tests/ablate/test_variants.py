"""Ablation files: every variant differs in exactly the keys it names, and says so when it does not."""

from pathlib import Path

import pytest
from ablation_files import ABLATION, write_files
from hypothesis import given
from hypothesis import strategies as st

from mmkd.ablate.settings import check_variants, complaints, flat, load_ablation, recipe_of
from mmkd.errors import ConfigError

SHIPPED = sorted((Path(__file__).parents[2] / "ablations").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_ablation_that_ships_is_valid_and_names_what_differs(path: Path, tmp_path: Path) -> None:
    ablation = load_ablation(path)
    check_variants(ablation, tmp_path)
    assert ablation.seeds == [0, 1, 2]
    assert all(variant.about for variant in ablation.variants.values())


def test_a_variant_is_the_recipe_with_common_keys_its_own_and_the_seed(tmp_path: Path) -> None:
    ablation = load_ablation(write_files(tmp_path))
    check_variants(ablation, tmp_path)
    default, other = (recipe_of(ablation, name, 7, tmp_path) for name in ("default", "contrastive"))
    assert (default.seed, default.distill.log_every, default.rivals) == (7, 1, {})
    changed = other.distill.model_copy(update={"objective": default.distill.objective})
    assert other.model_copy(update={"distill": changed}) == default


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("objective =", "objectiv =", r"(?s)variant 'contrastive'.*'distill.objectiv'; did you mean"),
        ('objective = "contrastive"', 'objective = "stacked"', r"distill.objective is what the default has already"),
        ("distill.objective", "log_every = 2\ndistill.objective", r"unknown key 'log_every'"),
        ('distill.objective = "contrastive"', "", r"'contrastive': names no key"),
        ('distill.objective = "contrastive"', "seed = 3", r"seed is not for variants"),
        ("[variants.alone]", "[variants.alone]\nx = 1", r"x and line belong together"),
        ("[variants.alone]", '[variants.alone]\nagainst = "contrastiv"', r"did you mean 'contrastive'"),
        ("x = 0.5", "x = 0.5\ndistill.epochs = 3", r"variants.default: it is the recipe"),
        ("seeds = [0, 1]", "seeds = [0, 0]", r"one twice"),
        ("[variants.alone]", '[variants."../alone"]', r"variants.*letters, digits, dots.*found '\.\./alone'"),
        ("[variants.alone]", '[variants."größe"]', r"variants.*letters, digits, dots.*found 'größe'"),
        ('leave_out = ["two"]', 'leave_out = ["tow"]', r"no teacher 'tow'; did you mean 'two'"),
        ('leave_out = ["two"]', 'leave_out = ["one", "two"]', r"no teacher is left"),
        ("seeds", "sedes", r"unknown key 'sedes'; did you mean 'seeds'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, found: str, instead: str, message: str) -> None:
    assert found in ABLATION
    path = write_files(tmp_path, ABLATION.replace(found, instead))
    with pytest.raises(ConfigError, match=message):
        check_variants(load_ablation(path), tmp_path)


def test_a_key_that_changes_another_one_as_well_is_found() -> None:
    default, variant = {"a.b": 1, "a.c": 2, "d": 3}, {"a.b": 9, "a.c": 9, "d": 3}
    assert complaints(default, variant, {"a.b": 9}) == ["it also changes a.c, which it does not name"]
    assert complaints(default, variant, {"a.b": 9, "a.c": 9}) == []
    assert complaints(default, default, {"d": 3}) == ["d is what the default has already; take it out"]


KEYS = st.text("abc", min_size=1, max_size=3)
INNER = st.dictionaries(KEYS, st.integers(0, 2), max_size=3)
TABLES = st.dictionaries(KEYS, st.integers(0, 2) | INNER | st.dictionaries(KEYS, INNER, max_size=2), max_size=3)


@given(TABLES)
def test_flat_keys_lead_back_to_every_value(table: dict[str, object]) -> None:
    for key, value in flat(table).items():
        found: object = table
        for part in key.split("."):
            assert isinstance(found, dict)
            found = found[part]
        assert found == value


@given(TABLES, TABLES)
def test_naming_all_that_differs_leaves_nothing_to_complain_about(
    one: dict[str, object], two: dict[str, object]
) -> None:
    default, variant = flat(one), flat(two)
    named = {key: 0 for key in {*default, *variant} if default.get(key, None) != variant.get(key, None)}
    assert complaints(default, variant, named) == []
