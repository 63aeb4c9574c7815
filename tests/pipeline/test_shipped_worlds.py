"""The recipes of imperfect teachers that overlap: `overlap` (synthetic) and `real`, on a stand-in of its pictures."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from mmkd.ablate.settings import check_variants, load_ablation
from mmkd.cli import app
from mmkd.curation.settings.sources import FoldersSource
from mmkd.evaluation.data_sets.choose import load_card
from mmkd.pipeline.preflight import check, standings
from mmkd.pipeline.recipe import Recipe, load_recipe
from mmkd.pipeline.run import Run

ROOT = Path(__file__).parents[2]
OVERLAP, REAL = ROOT / "recipes" / "overlap.toml", ROOT / "recipes" / "real.toml"
GROUPS = 15  # of a class, one picture each: enough for a picture of every set in each of three parts


def folders_of(recipe: Recipe) -> Iterator[FoldersSource]:
    for source in recipe.curate.sources:
        assert isinstance(source, FoldersSource)
        yield source


def write_stand_in(recipe: Recipe) -> None:
    """For each data set that the recipe reads: a few grey pictures a class in train, val and test, and `items.csv`."""
    shade = 0
    for source in folders_of(recipe):
        home, rows = source.path.parent, ["path,split,class,group,source"]
        for label in source.names:
            for split, count in (("train", GROUPS), ("val", 1), ("test", 2)):
                (home / split / label).mkdir(parents=True, exist_ok=True)
                for i in range(count):
                    name, shade = f"{split}/{label}/{i:04d}.jpg", shade + 1
                    Image.new("RGB", (20, 20), (shade % 256, shade // 256 * 40, i * 9)).save(home / name)
                    rows.append(f"{name},{split},{label},{split}_{label}_{i},here")
        (home / "items.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home = tmp_path_factory.mktemp("realmid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMKD_REALMID", str(home))
        out = tmp_path_factory.mktemp("run")
        recipe = load_recipe(REAL, out)
        write_stand_in(recipe)
        yield Run(recipe, out)


def plan(recipe: str, *more: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["plan", recipe, "--tflops", "1", "--json", *more])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_overlap_is_planned_and_passes_preflight(tmp_path: Path) -> None:
    run = Run(load_recipe(OVERLAP, tmp_path), tmp_path)
    assert check(run, standings(run)).problems == []
    assert plan(str(OVERLAP), "--out", str(tmp_path), "--pairs", "4000")


def test_in_overlap_every_modality_has_two_specialists_and_a_generalist(tmp_path: Path) -> None:
    recipe = load_recipe(OVERLAP, tmp_path)
    assert recipe.phantom is not None
    pairs = recipe.phantom.pairs
    known = Counter(modality for one in recipe.specialists for modality in pairs[one.name].modalities)
    assert known == dict.fromkeys(pairs["corpus"].modalities, 3)
    assert sorted(pairs["generalist"].modalities) == sorted(pairs["corpus"].modalities)
    assert pairs["corpus"].wrong_captions == 0.5


def test_the_curve_of_patience_changes_epochs_and_objective_alone(tmp_path: Path) -> None:
    ablation = load_ablation(ROOT / "ablations" / "patience.toml")
    check_variants(ablation, tmp_path)
    assert ablation.recipe == OVERLAP.resolve()
    changed = {key for one in ablation.variants.values() for key in one.changes.get("distill", {})}
    assert changed == {"epochs", "objective"}
    lines = defaultdict(set)
    for one in ablation.all_variants.values():
        lines[one.line].add(one.x)
    assert all(points == {30.0, 60.0, 120.0} for points in lines.values())


@pytest.mark.slow  # builds six students and opens 14 data sets
def test_real_is_planned_and_passes_preflight(real: Run) -> None:
    found = check(real, standings(real))
    assert found.problems == []
    assert sum("WARNING: wrong_captions" in line for line in found.looked_at) == 2  # the generalist's and the student's
    assert plan(str(REAL), "--out", str(real.out), "--pairs", "13000")


def test_in_real_every_set_has_teachers_of_disjoint_groups_and_other_architectures(real: Run) -> None:
    taught: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for one in real.recipe.specialists:
        tower = json.dumps(one.student.config["vision_cfg"], sort_keys=True)  # type: ignore[index]
        for source in one.curate.sources:
            assert isinstance(source, FoldersSource)
            assert source.part is not None
            assert source.part.of == 3
            assert (source.wrong_captions > 0) == (one.name == "generalist")
            [number] = source.part.take
            taught[source.name].append((number, tower))
    assert taught.keys() == {source.name for source in folders_of(real.recipe)}
    for of_set in taught.values():
        assert sorted(number for number, _ in of_set) == [0, 1, 2]
        assert len({tower for _, tower in of_set}) == 3


def test_in_real_the_student_sees_everything_in_several_wordings_partly_wrong(real: Run) -> None:
    assert real.recipe.curate.wrong_captions == 0.3
    for source in folders_of(real.recipe):
        assert source.part is None
        assert "wrong_captions" not in source.model_fields_set
        assert len(set(source.templates)) == 5
        assert source.groups == source.path.parent / "items.csv"


def test_in_real_cards_ask_for_the_classes_that_captions_name(real: Run) -> None:
    cards = {card.id: card for card in (load_card(path, {}) for path in real.recipe.evaluate.cards)}
    sources = {source.name: source for source in folders_of(real.recipe)}
    assert cards.keys() == sources.keys()
    for name, card in cards.items():
        assert {entry.marker: entry.name for entry in card.classes} == sources[name].names
        assert card.modality == sources[name].modality
