"""Data-set cards: what they say, what a wrong one is told, and which of the catalogue a recipe means."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from mmkd.cards.card import Card
from mmkd.cards.catalogue import catalogue_cards, matching, named, read_card
from mmkd.cards.layouts import FoldersLayout
from mmkd.errors import ConfigError
from mmkd.evaluation.data_sets.choose import chosen_cards, load_card, load_cards
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.tasks.table import TASKS

GOOD = """
id = "phantom_x_ray"
modality = "x-ray"
tasks = ["zero_shot"]
licence = "Apache-2.0"
[layout]
reader = "folders"
path = "${DATA:-test}"
[[classes]]
name = "left lung opacity"
folder = "left_lung_opacity"
prompts = ["a radiograph with opacity in the left lung", "left lung opacity on chest x-ray"]
[[classes]]
name = "clear"
prompts = ["clear lungs"]
"""
CARDS = catalogue_cards()


def card_file(folder: Path, text: str, name: str = "card.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_card_keeps_its_order_and_stands_beside_its_data(tmp_path: Path) -> None:
    card = load_card(card_file(tmp_path, GOOD), {})
    assert [entry.name for entry in card.classes] == ["left lung opacity", "clear"]
    assert [entry.marker for entry in card.classes] == ["left_lung_opacity", "clear"]
    assert card.layout == FoldersLayout(reader="folders", path=tmp_path / "test")


def test_variables_are_expanded(tmp_path: Path) -> None:
    layout = load_card(card_file(tmp_path, GOOD), {"DATA": "/somewhere"}).layout
    assert isinstance(layout, FoldersLayout)
    assert layout.path == Path("/somewhere")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("licence =", "license =", "unknown key 'license'; did you mean 'licence'"),
        ('reader = "folders"', 'reader = "folders"\ngrops = "x"', "unknown key 'layout.grops'; did you mean 'groups'"),
        ("folder =", "foldr =", r"unknown key 'classes\[0\].foldr'; did you mean 'folder'"),
        ('"folders"', '"floder"', "layout: .*'floder'.*'folders', 'table'"),
        ('"x-ray"', '"xray"', "modality: is 'xray', expected one of x-ray"),
        ('["zero_shot"]', '["zeroshot"]', "unknown task 'zeroshot'; did you mean 'zero_shot'"),
        ('["zero_shot"]', '["retrieval"]', "'retrieval' needs captions"),
        ('["zero_shot"]', "[]", "tasks: "),
        ('prompts = ["clear lungs"]', "prompts = []", "'zero_shot' needs prompts of every class, found none of clear"),
        ('prompts = ["clear lungs"]', 'prompts = [" "]', r"classes\[1\].prompts\[0\]: .*at least 1"),
        ('"clear"', '"left lung opacity"', "class names must be distinct, found twice: left lung opacity"),
        ('"clear"', '"left_lung_opacity"', "class folders must be distinct"),
        ("[layout]", 'unverified = ["lisence"]\n[layout]', "unverified names keys of this card, found lisence"),
        ("[layout]", "counts = { test = 0 }\n[layout]", "counts.test: .*greater than 0"),
        ("[layout]", "counts = { dev = 3 }\n[layout]", "counts.dev"),
        ("${DATA:-test}", "${NO_SUCH}", "variable NO_SUCH is not set"),
        ('id = "phantom_x_ray"', 'id = "../x"', "id: "),
        ("[layout]", "[layout", "not valid TOML"),
    ],
)
def test_a_wrong_card_is_told_what_and_where(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = card_file(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=told) as caught:
        load_card(path, {})
    assert str(caught.value).startswith(f"{path}: ")


def test_zero_shot_needs_two_classes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs at least two"):
        load_card(card_file(tmp_path, GOOD[: GOOD.rindex("[[classes]]")]), {})


def test_cards_with_one_id_are_refused(tmp_path: Path) -> None:
    paths = [card_file(tmp_path, GOOD, name) for name in ("a.toml", "b.toml")]
    with pytest.raises(ConfigError, match=r"b\.toml: id 'phantom_x_ray' is taken by .*a\.toml"):
        load_cards(paths, {})


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_says_what_it_measures(name: str) -> None:
    task = TASKS[name]
    assert name.replace("_", "").isalpha()
    assert task.title
    assert task.protocol


def modalities(cards: list[str]) -> set[str]:
    return {CARDS[id_].modality for id_ in cards}


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("xray", "x-ray"),
        ("X-Ray", "x-ray"),
        ("pathology", "histopathology"),
        ("skin", "dermatology"),
        ("us", "ultrasound"),
        ("mixed", "mixed"),
    ],
)
def test_modalities_are_found_by_any_of_their_names(name: str, modality: str) -> None:
    found = matching(name, CARDS)
    assert found == [id_ for id_, card in CARDS.items() if card.modality == modality] != []


def test_ids_tasks_and_all_name_sets() -> None:
    assert matching("busi", CARDS) == ["busi"]
    assert matching("zero-shot", CARDS) == [id_ for id_, card in CARDS.items() if "zero_shot" in card.tasks]
    assert matching("all", CARDS) == list(CARDS)


def test_sets_that_are_named_twice_count_once() -> None:
    found = named(["busi", "us", "busi", "ultrasound"], CARDS)
    assert found[0] == "busi"
    assert len(found) == len(set(found)) == len(matching("ultrasound", CARDS))


@pytest.mark.parametrize(
    ("name", "told"),
    [("bussi", "did you mean 'busi'"), ("endoscopi", "did you mean 'endoscopy'"), ("zeroshot", "'zero_shot'")],
)
def test_unknown_names_are_told_the_nearest(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"no data set, modality or task {name!r}; .*{told}"):
        named([name], CARDS)


def settings(root: Path, *names: str, **more: object) -> EvaluateSettings:
    return EvaluateSettings.model_validate({"datasets": list(names), "data_root": root, **more})


def chosen(root: Path, *names: str) -> list[Card]:
    return chosen_cards(settings(root, *names))


def test_cards_of_the_catalogue_look_below_the_data_root(tmp_path: Path) -> None:
    (tmp_path / "busi").mkdir()
    (card,) = chosen(tmp_path, "busi")
    assert isinstance(card.layout, FoldersLayout)
    assert card.layout.path == tmp_path / "busi" / "Dataset_BUSI_with_GT"


def test_of_a_modality_what_is_there_is_taken_and_the_rest_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("busi", "breastmnist", "kvasir"):
        (tmp_path / name).mkdir()
    assert [card.id for card in chosen(tmp_path, "ultrasound")] == ["breastmnist", "busi"]
    assert "left out: " in (said := capsys.readouterr().out)
    assert "bus_bra" in said
    assert "kvasir" not in said


@pytest.mark.parametrize("name", ["busi", "ultrasound"])
def test_sets_that_are_not_there_are_told_where_to_look(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no folder below .* for .*busi.*'mmkd datasets check' says where"):
        chosen(tmp_path, name)


def test_a_card_of_ones_own_may_not_have_the_id_of_a_chosen_one(tmp_path: Path) -> None:
    (tmp_path / "busi").mkdir()
    mine = card_file(tmp_path, GOOD.replace("phantom_x_ray", "busi"))
    with pytest.raises(ConfigError, match="busi: on a card of one's own and in the catalogue"):
        chosen_cards(settings(tmp_path, "busi", cards=[mine]))


def test_ones_own_cards_come_first(tmp_path: Path) -> None:
    (tmp_path / "busi").mkdir()
    mine = card_file(tmp_path, GOOD)
    assert [card.id for card in chosen_cards(settings(tmp_path, "busi", cards=[mine]))] == ["phantom_x_ray", "busi"]


def test_the_old_name_of_include_is_read_with_a_line_that_names_the_new_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = 'id = "a"\nmodality = "ct"\ntasks = ["any"]\nlicence = "x"\n[layout]\nreader = "table"\npath = "t.csv"\n'
    (tmp_path / "old.toml").write_text(card + 'only = { kind = ["CT"] }\n')
    (tmp_path / "new.toml").write_text(card + 'include = { kind = ["CT"] }\n')
    assert read_card(tmp_path / "old.toml") == read_card(tmp_path / "new.toml")
    assert capsys.readouterr().err.strip().splitlines() == [
        f"{tmp_path}/old.toml: [layout] only is now called include; the next release knows the new name only"
    ]


ELSEWHERE = ["../x", "a/b", "/x", "..", ".x", "", "a\\b", "a\n", "x" * 101]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_that_become_files_are_no_paths(name: str) -> None:
    """Predictors and encoders are models in the tables: their predictions are called after them."""
    card = {"id": "s", "modality": "ct", "tasks": ["survival"], "licence": "CC0"}
    table = {"reader": "table", "path": "t.csv"}
    slides = {"reader": "slides", "path": "t.csv"}
    for good in ("age_and_sex", "v1.2-b"):
        Card.model_validate({**card, "layout": table, "covariates": {good: ["age"]}})
        Card.model_validate({**card, "layout": {**slides, "bags": {good: "{id}.h5"}}})
    for wrong in ({"layout": table, "covariates": {name: ["age"]}}, {"layout": {**slides, "bags": {name: "{id}.h5"}}}):
        with pytest.raises(ValidationError, match=r"letters, digits, dots"):
            Card.model_validate({**card, **wrong})
