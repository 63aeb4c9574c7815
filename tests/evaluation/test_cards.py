"""Data-set cards: what they say, and what a wrong one is told."""

from pathlib import Path

import pytest

from mmkd.errors import ConfigError
from mmkd.evaluation.card import FoldersLayout
from mmkd.evaluation.catalog import load_card, load_cards
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
    assert load_card(card_file(tmp_path, GOOD), {"DATA": "/somewhere"}).layout.path == Path("/somewhere")


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
        ('prompts = ["clear lungs"]', "prompts = []", r"classes\[1\].prompts: .*at least 1"),
        ('prompts = ["clear lungs"]', 'prompts = [" "]', r"classes\[1\].prompts\[0\]: .*at least 1"),
        ('"clear"', '"left lung opacity"', "class names must be distinct, found twice: left lung opacity"),
        ('"clear"', '"left_lung_opacity"', "class folders must be distinct"),
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
