"""The taxonomy is one table; these are its laws."""

import json
import re
import tomllib
from collections import Counter
from importlib.resources import files

import pytest
from corpus_samples import REALDATA, needs_realdata
from hypothesis import given
from hypothesis import strategies as st

from mmkd.cards.catalogue import catalogue_cards
from mmkd.modalities.taxonomy import (
    BY_NAME,
    MODALITIES,
    NONCLINICAL_LABELS,
    OTHER,
    TAXONOMY,
    UNKNOWN,
    UNSPECIFIC_LABELS,
    Modality,
    canonical_modality,
    evaluated_modality,
    fine_modality,
    fine_modality_of_labels,
    is_unknown,
    plain_name,
    resembling,
)

# the 23 labels of BIOMEDICA's "Clinical Imaging", light microscopy and immunohistochemistry
CLINICAL = [
    "x-ray radiography",
    "optical coherence tomography",
    "endoscopy",
    "intraoral imaging",
    "angiography",
    "procedural image",
    "skull",
    "patient photo",
    "functional magnetic resonance",
    "magnetic resonance",
    "eye",
    "mammography",
    "electrocardiography",
    "clinical imaging",
    "skin lesion",
    "ultrasound",
    "specimen",
    "computerized tomography",
    "laryngoscopy",
    "teeth",
    "intraoperative image",
    "surgical procedure",
    "brain",
    "light microscopy",
    "immunohistochemistry",
]


def test_there_are_twenty_six_and_the_nine_stand_first() -> None:
    assert len(TAXONOMY) == len(BY_NAME) == 26
    nine = "x-ray fundus histopathology endoscopy ct mri ultrasound dermatology oct"
    assert tuple(nine.split()) == MODALITIES == tuple(entry.name for entry in TAXONOMY[:9])


def test_no_name_means_two_modalities() -> None:
    each = ({entry.name, *entry.synonyms, *entry.labels} for entry in TAXONOMY)  # a label may be a name
    names = Counter(plain_name(name) for entry in each for name in entry)
    assert [name for name, times in names.items() if times > 1] == []
    assert not {*map(plain_name, NONCLINICAL_LABELS | UNSPECIFIC_LABELS)} ^ (NONCLINICAL_LABELS | UNSPECIFIC_LABELS)
    assert not {*NONCLINICAL_LABELS, *UNSPECIFIC_LABELS} & set(names)
    assert not NONCLINICAL_LABELS & UNSPECIFIC_LABELS


@pytest.mark.parametrize("entry", TAXONOMY, ids=lambda entry: entry.name)
def test_every_entry_is_whole(entry: Modality) -> None:
    assert entry.parent in ("", *MODALITIES)
    assert not (entry.parent and entry.evaluated)
    assert entry.words
    for pattern in (*entry.words, *entry.marks, *entry.hints):
        assert re.compile(pattern).match("") is None, "a pattern that matches nothing would match everywhere"
    for name in (entry.name, *entry.synonyms, *entry.labels):
        assert name == " ".join(name.lower().split())
        assert fine_modality(name.upper().replace(" ", "_")) == entry.name


@pytest.mark.parametrize("label", CLINICAL)
def test_every_clinical_label_of_biomedica_has_its_place(label: str) -> None:
    assert fine_modality(label) in BY_NAME or label in UNSPECIFIC_LABELS


@given(st.text(max_size=30))
def test_any_name_is_one_of_the_nine_or_other_or_unknown(name: str) -> None:
    found = canonical_modality(name)
    assert found in (*MODALITIES, OTHER, UNKNOWN)
    assert canonical_modality(found) == found == evaluated_modality(fine_modality(name))
    assert canonical_modality(f"  {name} ") == found


@given(st.lists(st.sampled_from([*CLINICAL, "plot", "diagram", "nothing known"])))
def test_labels_give_the_first_that_names_a_modality(labels: list[str]) -> None:
    each = [canonical_modality(label) for label in labels]
    expected = next((name for name in each if name in MODALITIES), OTHER if labels else "")
    fine = fine_modality_of_labels(labels)
    assert fine in (*map(fine_modality, labels), OTHER, "")
    assert (fine and evaluated_modality(fine)) == expected


@pytest.mark.parametrize(
    ("name", "fine", "evaluated"),
    [
        ("Mammogram", "mammography", "x-ray"),
        ("PET/CT", "nuclear imaging", "other"),
        ("Computed_Tomography", "ct", "ct"),
        ("angiography", "angiography", "other"),
        ("immunohistochemistry", "immunohistochemistry", "histopathology"),
        ("dermoscopy", "dermoscopy", "dermatology"),
        ("plot", "other", "other"),
        (None, "unknown", "unknown"),
    ],
)
def test_names_worked_by_hand(name: str | None, fine: str, evaluated: str) -> None:
    assert (fine_modality(name), canonical_modality(name)) == (fine, evaluated)


def test_the_names_of_the_catalogue_are_known() -> None:
    names = {card.modality for card in catalogue_cards().values()} - {"mixed"}
    assert {name for name in names if canonical_modality(name) != name} == set()


@needs_realdata
def test_the_names_of_the_real_pairs_are_known() -> None:
    rows = [json.loads(line) for line in (REALDATA / "pairs/pairs.jsonl").read_text().splitlines()]
    found = {row["modality"]: canonical_modality(row["modality"]) for row in rows}
    assert sorted(found.values()) == sorted([*MODALITIES, OTHER])
    assert found["Other"] == OTHER


def test_names_that_are_not_known_are_told_from_other_kinds_of_pictures() -> None:
    assert [is_unknown(name) for name in ("MRTT", "scan", "Plot", "other", "", None, "CT", "unknown")] == [
        True,
        True,
        *[False] * 6,
    ]
    assert (resembling("Ultrasond"), resembling("Radiographhy"), resembling("zzzz"), resembling("ZT")) == (
        "ultrasound",
        "radiography",
        "",
        "",
    )


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("Röntgen", "x-ray"),
        ("Ro\u0308ntgen", "x-ray"),  # in NFD
        ("XR", "x-ray"),
        ("MRT", "mri"),
        ("IRM", "mri"),
        ("TAC", "ct"),
        ("Sonographie", "ultrasound"),
        ("Échographie", "ultrasound"),
        ("Mammographie", "mammography"),
    ],
)
def test_names_in_other_languages(name: str, modality: str) -> None:
    assert fine_modality(name) == modality


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("resonancia magnetica", "mri"),
        ("imagerie par resonance magnetique", "mri"),
        ("echocardiographie", "echocardiography"),
        ("Ecocardiografia", "echocardiography"),
        ("Tomodensitometrie", "ct"),
        ("Tomografia computarizada", "ct"),
        ("Rontgen", "x-ray"),
        ("radiografia", "x-ray"),
        ("Echographie", "ultrasound"),
        ("ULTRASO\u0301UND", "ultrasound"),
    ],
)
def test_accents_do_not_count(name: str, modality: str) -> None:
    assert fine_modality(name) == modality
    assert not is_unknown(name)


@pytest.mark.parametrize(
    "code", ["PT", "NM", "XA", "RF", "OP", "SM", "ES", "IO", "PX", "CT", "MR", "CR", "DX", "MG", "US"]
)
def test_codes_of_dicom_mean_what_the_words_for_them_mean(code: str) -> None:
    """As the reader of DICOM has them in words."""
    told = tomllib.loads(files("mmkd.curation.sources").joinpath("dicom_terms.toml").read_text())["modality"][code]
    assert fine_modality(code) == fine_modality(told) in BY_NAME


@pytest.mark.parametrize(("name", "modality"), [("PET-CT", "nuclear imaging"), ("RX", "x-ray"), ("TDM", "ct")])
def test_abbreviations_of_clinics(name: str, modality: str) -> None:
    assert fine_modality(name) == modality
