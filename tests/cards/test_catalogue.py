"""The catalogue: every card is sound, and reads a miniature made in its own layout."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from miniature_sets import FILE_NAMES, write_miniature

from mmkd.cards.catalogue import CATALOG, catalogue, catalogue_cards
from mmkd.cards.layouts import FoldersLayout
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import Sample
from mmkd.evaluation.data_sets.catalogue_pages import BEGIN, END, markdown
from mmkd.evaluation.data_sets.checks import EXTERNAL, check_cards
from mmkd.evaluation.data_sets.inspect import check_data
from mmkd.evaluation.tasks.table import TASKS
from mmkd.modalities.taxonomy import MODALITIES
from mmkd.teachers.zoo.entry import zoo

CARDS = catalogue_cards()
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "data-sets.md"
NINE_TISSUES = [
    "adipose",
    "background",
    "debris",
    "lymphocytes",
    "mucus",
    "muscle",
    "normal",
    "stroma",
    "adenocarcinoma",
]
ELEVEN_ORGANS = [
    "bladder",
    "left femur",
    "right femur",
    "heart",
    "left kidney",
    "right kidney",
    "liver",
    "left lung",
    "right lung",
    "pancreas",
    "spleen",
]


def test_the_catalogue_covers_what_it_promises() -> None:
    assert len(CARDS) >= 58
    assert {card.modality for card in CARDS.values()} >= set(MODALITIES)
    asked = {name for name, task in TASKS.items() if not task.derived_from}
    assert {task for card in CARDS.values() for task in card.tasks} == asked
    assert min(Counter(card.modality for card in CARDS.values()).values()) >= 4


def test_no_card_has_a_complaint() -> None:
    assert check_cards(catalogue(), list(zoo())) == {}


def samples_of(name: str, folder: Path) -> list[Sample]:
    made = write_miniature(catalogue_cards(folder)[name])
    samples = read_samples(made.card)
    assert Counter((sample.split, sample.labels, sample.group) for sample in samples) == made.expected
    return samples


@pytest.mark.parametrize("name", list(CARDS))
def test_a_card_reads_a_miniature_in_its_own_layout(name: str, tmp_path: Path) -> None:
    card, samples = CARDS[name], samples_of(name, tmp_path)
    for image in samples[0].images[:1] + samples[-1].images[:1]:
        assert image.read().mode == "RGB"
    if "linear_probe" in card.tasks:
        assert {"train", "test"} <= {sample.split for sample in samples}
    if "retrieval" in card.tasks:
        assert all(sample.caption and sample.images for sample in samples)
    if "vqa" in card.tasks:
        assert {sample.question.closed for sample in samples if sample.question} == {True, False}
    if "survival" in card.tasks:
        assert {sample.survival.event for sample in samples if sample.survival} == {True, False}
        names = {column for columns in card.covariates.values() for column in columns}
        assert all(sample.covariates.keys() == names for sample in samples)
    if "diagnosis" in card.tasks:
        assert all(sample.images for sample in samples)
    assert all(set(sample.facts) == set(card.subgroups) for sample in samples)


def test_pictures_of_a_miniature_are_distinct_unless_they_are_tiles(tmp_path: Path) -> None:
    for name in ("busi", "pcam", "dermamnist", "rocov2", "ham10000"):
        samples = samples_of(name, tmp_path)
        assert len({sample.image.digest() for sample in samples}) == len(samples)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("breastmnist", ["malignant", "benign"]),
        ("pneumoniamnist", ["normal", "pneumonia"]),
        ("octmnist", ["choroidal", "macular edema", "drusen", "normal"]),
        ("dermamnist", ["actinic", "basal", "keratosis", "dermatofibroma", "melanoma", "nevus", "vascular"]),
        ("pathmnist", NINE_TISSUES),
        ("organamnist", ELEVEN_ORGANS),
        ("organcmnist", ELEVEN_ORGANS),
        ("organsmnist", ELEVEN_ORGANS),
        ("retinamnist", ["no diab", "mild", "moderate", "severe", "^proliferative"]),
    ],
)
def test_archives_without_names_have_the_publishers_order(name: str, order: list[str]) -> None:
    """MedMNIST's own table, label by label."""
    found = [entry.name for entry in CARDS[name].classes]
    assert len(found) == len(order)
    assert all(re.search(part, entry) for entry, part in zip(found, order, strict=True)), found


def test_sets_that_share_pictures_say_so() -> None:
    for name, others in {
        "organamnist": {"organs_axial", "organcmnist", "organsmnist"},
        "retinamnist": {"deepdrid_regular"},
        "btmri": {"br35h"},
        "octmnist": {"oct2017"},
        "dermamnist": {"ham10000", "isic2019"},
        "pathmnist": {"nct_crc_he"},
        "rsna_pneumonia": {"nih_cxr14", "chestmnist"},
        "pcam": {"camelyon16", "wilds_camelyon17"},
    }.items():
        assert others <= set(CARDS[name].overlaps)
    assert {"unimed-clip", "medclip"} <= set(CARDS["chexpert_5x200"].seen_by)
    assert all("unimed-clip" in CARDS[name].seen_by for name in ("nih_cxr14", "rsna_pneumonia", "rocov2", "quilt1m"))


def test_every_pattern_of_groups_is_tried_on_a_name_as_published() -> None:
    patterns = {
        name: card.layout.group_pattern
        for name, card in CARDS.items()
        if isinstance(card.layout, FoldersLayout) and card.layout.group_pattern
    }
    assert patterns.keys() == FILE_NAMES.keys()


@pytest.mark.parametrize("name", ["tcga_blca", "tcga_brca", "tcga_coadread", "tcga_luad", "tcga_ucec"])
def test_survival_cards_read_the_real_tables(name: str, realdata: Path, tmp_path: Path) -> None:
    (table,) = (path for path in (realdata / "survival").glob(f"{name}_*.csv") if "fold" not in path.name)
    (tmp_path / name).mkdir()
    shutil.copy(table, tmp_path / name / f"{name}.csv")
    row = check_data(catalogue_cards(tmp_path)[name], tmp_path / name)
    assert row["state"] == "there"
    assert row["groups"] < row["samples"] == CARDS[name].samples


GOOD = (CATALOG / "busi.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('id = "busi"', 'id = "bussi"', "id 'bussi' differs from the file's name"),
        ('licence = "CC BY 4.0"', 'licence = " "', "licence is empty"),
        ('"zero_shot"', '"zeroshot"', "unknown task 'zeroshot'; did you mean 'zero_shot'"),
        ("samples = 780", "", "neither counts nor samples"),
        ('overlaps = ["breastmnist", ', 'overlaps = ["brestmnist", ', "overlaps names 'brestmnist', no card"),
        ('overlaps = ["breastmnist", ', 'overlaps = ["busi", ', "overlaps names 'busi', which does not name"),
        ("[layout]", 'seen_by = ["unimedclip"]\n[layout]', "'unimedclip', which is not in the zoo; did you mean"),
        ('prompts = ["breast ultrasound without lesion", ', "prompts = [", "'normal' has 1 prompts, expected 2 to 4"),
        ("breast ultrasound without lesion", "normal breast tissue on ultrasound", "stands twice: it tells nothing"),
        ("hashed = { val = 0.1, test = 0.2 }", "", "linear_probe has nothing to learn from"),
        ("modality", "modalty", "unknown key 'modalty'; did you mean 'modality'"),
    ],
)
def test_a_bad_card_is_told(old: str, new: str, told: str, tmp_path: Path) -> None:
    assert old in GOOD
    (tmp_path / "busi.toml").write_text(GOOD.replace(old, new, 1))
    found = check_cards({**catalogue(), "busi": tmp_path / "busi.toml"}, list(zoo()))
    assert any(told in complaint for complaint in found["busi"]), found["busi"]


def test_gaps_of_the_catalogue_are_told() -> None:
    left = {name: path for name, path in catalogue().items() if CARDS[name].modality != "oct"}
    assert check_cards(left, list(zoo()))[""] == ["no card of oct"]


def test_sets_without_a_card_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "busi.toml").write_text(GOOD.replace("overlaps = [", f'overlaps = ["{EXTERNAL}some other set", ', 1))
    assert check_cards({**catalogue(), "busi": tmp_path / "busi.toml"}, list(zoo())) == {}


def test_the_document_is_up_to_date() -> None:
    text = DOCUMENT.read_text()
    table = text[text.index(BEGIN) : text.index(END) + len(END)]
    assert table == markdown(list(CARDS.values())), "put the output of 'mmkd datasets list --markdown' there"
