"""Recipes: typed, closed, every problem at once, relative to their own folder."""

from pathlib import Path

import pytest
from recipes_of_tests import MINIMAL

from mmkd.errors import ConfigError
from mmkd.pipeline.recipe import Recipe, load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def load_text(folder: Path, text: str, *changes: str) -> Recipe:
    (folder / "recipe.toml").write_text(text)
    return load_recipe(folder / "recipe.toml", folder / "out", changes)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_ships_is_valid(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path, tmp_path)
    assert recipe.name == path.stem


def test_paths_are_relative_to_the_recipe_and_out_is_filled_in(tmp_path: Path) -> None:
    recipe = load_text(tmp_path, MINIMAL)
    assert recipe.curate.sources[0].path == tmp_path / "pairs.csv"
    assert recipe.teachers[0].model == f"local-dir:{tmp_path / 'models' / 'one'}"
    assert recipe.evaluate.cards == [tmp_path / "out" / "card.toml"]


def test_a_rival_differs_in_the_keys_it_names_and_in_no_other(tmp_path: Path) -> None:
    rivals = '[rivals.plain]\nobjective = "contrastive"\n[rivals.calm.augment]\nnoise = 0.0\n'
    recipe = load_text(tmp_path, MINIMAL + rivals)
    ours = recipe.distill
    assert recipe.rivals["plain"] == ours.model_copy(update={"objective": "contrastive"})
    assert recipe.rivals["calm"] == ours.model_copy(update={"augment": ours.augment.model_copy(update={"noise": 0.0})})


def test_a_rival_that_maps_whole_vectors_has_no_matryoshka_ones(tmp_path: Path) -> None:
    rivals = '[rivals.plain]\nobjective = "contrastive"\n[rivals.reference]\nobjective = "mmkd"\n'
    rivals += "[rivals.headed.terms]\nheads = 1.0\n"
    recipe = load_text(tmp_path, MINIMAL.replace("[distill]", "[distill]\nmatryoshka = [4]") + rivals)
    assert recipe.distill.matryoshka == (4,)
    assert {name: one.matryoshka for name, one in recipe.rivals.items()} == {
        "plain": (4,),
        "reference": (),
        "headed": (),
    }
    with pytest.raises(ConfigError, match="matryoshka does not go with objective 'mmkd'"):
        load_text(tmp_path, MINIMAL + '[rivals.reference]\nobjective = "mmkd"\nmatryoshka = [4]\n')


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("distill.epochs=3", lambda recipe: recipe.distill.epochs == 3),
        ("seed=5", lambda recipe: recipe.seed == 5),
        ("machine.device=cpu", lambda recipe: recipe.machine.device == "cpu"),
        ("pretrain.augment.flip=true", lambda recipe: recipe.pretrain.augment.flip),
        ("distill.betas=[0.8, 0.9]", lambda recipe: recipe.distill.betas == (0.8, 0.9)),
    ],
)
def test_values_can_be_changed_from_outside(tmp_path: Path, change: str, found: object) -> None:
    assert found(load_text(tmp_path, MINIMAL, change))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "[distil]\nx = 1\n", r"unknown key 'distil'; did you mean 'distill'\?"),
        (MINIMAL.replace("epochs", "epocs"), r"unknown key 'distill.epocs'; did you mean 'epochs'\?"),
        (MINIMAL.replace("[[teachers]]", "[[teacher]]"), "unknown key 'teacher'"),
        (MINIMAL.replace('kind = "table"', 'kind = "tabel"'), "sources"),
        (MINIMAL.replace("epochs = 7", "epochs = 0"), r"distill.epochs: .*greater than 0.*found 0"),
        (MINIMAL.replace('name = "one"', 'name = "student"'), "used twice or reserved: student"),
        (MINIMAL + "[rivals.one]\nepochs = 1\n", "used twice or reserved: one"),
        (MINIMAL + '[rivals."../corpus"]\nepochs = 1\n', r"rivals.*letters, digits, dots.*found '\.\./corpus'"),
        (MINIMAL + '[rivals."/tmp/x"]\nepochs = 1\n', "rivals.*letters, digits, dots"),
        (MINIMAL.replace('name = "one"', 'name = "../corpus"'), r"teachers.*name.*letters, digits.*'\.\./corpus'"),
        (MINIMAL.replace('name = "one"', 'name = "one/.."'), r"teachers.*name.*letters, digits, dots"),
        (MINIMAL.replace('kind = "table"', 'kind = "table"\nname = "../x"'), r"sources.*name.*match pattern.*'\.\./x'"),
        (MINIMAL.replace("${out}", "${NOWHERE}"), "the variable NOWHERE is not set"),
        (MINIMAL.replace('model = "ViT-B-16"', ""), "give either model"),
        (MINIMAL.replace("[curate]", "[curate"), "not valid TOML"),
        (MINIMAL.replace('[[teachers]]\nname = "one"\nmodel = "local-dir:models/one"', ""), "no teacher"),
        (
            MINIMAL + '[reliability]\nmodality = "evidence"\n',
            r"needs the teachers' votes .* add a section \[evidence\]",
        ),
        (
            MINIMAL + '[reliability]\nmethod = "rank"\n',
            r'distill: the term \'stacked\' follows .* set \[reliability\] method = "stacking"',
        ),
        (
            MINIMAL.replace("[distill]", '[reliability]\nmethod = "rank"\n[distill]\nobjective = "affinity"')
            + "[rivals.two.terms]\nstacked = 0.5\n",
            r"rivals\.two: the term 'stacked' follows",
        ),
        (MINIMAL + '[evidence]\n[reliability]\nby = "cluster"\nmodality = "evidence"\n', "reads no modality"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_text(tmp_path, text)


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    wrong = MINIMAL.replace("epochs = 7", "epochs = -1\nbatchsize = 3").replace("shift = 0.1", "shift = 2")
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, wrong)
    assert all(part in str(caught.value) for part in ("3 problems", "epochs", "batchsize", "batch_size", "shift"))


@pytest.mark.parametrize("change", ["seed", "=3", "name.x=3"])
def test_a_malformed_change_is_refused(tmp_path: Path, change: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load_text(tmp_path, MINIMAL, change)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml: cannot be read"):
        load_recipe(tmp_path / "nothing.toml", tmp_path)


def test_the_readmes_recipe_is_valid(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    text = readme.split("```toml\n", 1)[1].split("```", 1)[0]
    recipe = load_text(tmp_path, text)
    assert [teacher.name for teacher in recipe.teachers] == ["biomedclip", "quiltnet", "plip"]
    assert len(text.strip().splitlines()) <= 12
