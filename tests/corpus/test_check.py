"""What a recipe asks of a record: nothing by default, and each choice does what it says and no more."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import REALDATA, encoded, needs_realdata, noise, png, run, settings_for, table
from PIL import Image

from mmkd.corpus.check import checked_pairs
from mmkd.corpus.clean import clean_caption
from mmkd.corpus.images import stored_image
from mmkd.corpus.records import BadRecordError, Reason, Record
from mmkd.corpus.settings import CurateSettings
from mmkd.corpus.taxonomy import canonical_modality


def record(**changed: object) -> Record:
    plain = {"id": "r1", "image": png(), "caption": "A nodule", "modality": "CT", "group": "p1", "licence": "CC0"}
    return Record(**{**plain, "source": "s", "where": "t:0", **changed})


def chosen(**options: object) -> CurateSettings:
    return settings_for(Path("t.csv"), **options)


def compound() -> bytes:
    """Two noise panels, 60 x 60 pixels, with a white gutter."""
    canvas = np.full((60, 130, 3), 255, np.uint8)
    canvas[:, :60], canvas[:, 70:] = noise(1, 60, 60) // 2 + 40, noise(2, 60, 60) // 2 + 40
    return encoded(canvas)


def reason_of(found: Record, **options: object) -> Reason:
    with pytest.raises(BadRecordError) as caught:
        checked_pairs(found, chosen(**options))
    return caught.value.reason


def test_by_default_a_record_is_only_cleaned_and_stored() -> None:
    caption = "Figure 1. (a) A <i>cyst</i>. (b) Another, see text."
    found = record(image=compound(), caption=caption, labels=("bar plot",), modality="Mammography")
    (row,) = checked_pairs(found, chosen())
    image = stored_image(found.image, 16, 512, 10**6)
    assert (row["caption"], row["caption_original"]) == (clean_caption(caption), caption)
    assert (row["image"], row["sha256"], row["phash"]) == (found.image, image.sha256, image.phash)
    assert (row["id"], row["modality"], row["panel"], row["language"]) == ("r1", "x-ray", "", "")


@needs_realdata
def test_by_default_the_real_pairs_keep_their_captions_bytes_and_modalities() -> None:
    rows = [json.loads(line) for line in (REALDATA / "pairs/pairs.jsonl").read_text().splitlines()][::40]
    for row in rows:
        data = (REALDATA / "pairs" / row["image"]).read_bytes()
        (made,) = checked_pairs(record(image=data, caption=row["caption"], modality=row["modality"]), chosen())
        assert made["caption"] == clean_caption(row["caption"])
        assert made["modality"] == canonical_modality(row["modality"])
        assert made["image"] == stored_image(data, 16, 512, 10**8).data


def test_what_only_labels_say_is_the_modality() -> None:
    found = record(modality="", labels=("angiography", "magnetic resonance"), caption="Axial CT of the brain")
    (row,) = checked_pairs(found, chosen())
    assert (row["modality"], row["modality_evidence"]) == ("mri", "label+!caption")
    assert row["modality_confidence"] < 0.5
    (row,) = checked_pairs(found, chosen(modality={"by": "evidence"}))
    assert (row["modality"], row["modality_evidence"]) == ("ct", "!label+caption")
    assert row["labels"] == "angiography; magnetic resonance"


def test_a_record_of_which_nothing_is_said_is_unknown() -> None:
    (row,) = checked_pairs(record(modality=""), chosen())
    assert (row["modality"], row["modality_evidence"], row["modality_confidence"]) == ("unknown", "", 0.0)


def test_fine_names_and_doubt() -> None:
    found = record(modality="", caption="Mammogram and MRI of the breast")
    (row,) = checked_pairs(found, chosen(modality={"by": "evidence", "names": "fine"}))
    assert (row["modality"], row["modality_evidence"]) == ("mammography", "caption")
    doubt = {"by": "evidence", "min_confidence": 0.8}
    assert reason_of(found, modality=doubt) == Reason.UNSURE_MODALITY
    (row,) = checked_pairs(record(caption="Axial CT"), chosen(modality=doubt))
    assert row["modality_confidence"] > 0.99


def test_words_are_checked_before_the_image_is_decoded() -> None:
    broken = record(image=b"no image", caption="Figure 2.", licence="CC BY-NC")
    assert reason_of(broken, filters={"content": True}) == Reason.NO_CONTENT
    assert reason_of(broken, filters={"licences": ["permissive"]}) == Reason.LICENCE
    assert reason_of(broken) == Reason.UNREADABLE_IMAGE


def test_references_are_stripped_and_the_original_is_kept() -> None:
    caption = "Fig. 1: A nodule (Fig. 2) of the lung"
    (row,) = checked_pairs(record(caption=caption), chosen(captions={"references": "strip"}))
    assert (row["caption"], row["caption_original"]) == ("A nodule of the lung", caption)
    assert reason_of(record(caption="Figure 3."), captions={"references": "strip"}) == Reason.EMPTY_CAPTION


def test_the_mention_is_a_second_caption() -> None:
    found = record(mention="As <xref>Figure 1</xref> shows,\nit grew.")
    assert checked_pairs(found, chosen())[0]["caption_mention"] == "As Figure 1 shows, it grew."
    assert checked_pairs(found, chosen(captions={"mention": False}))[0]["caption_mention"] == ""


def test_languages_are_tagged_or_dropped() -> None:
    found = record(caption="Radiografía de tórax que muestra una opacidad en el pulmón")
    assert checked_pairs(found, chosen(captions={"language": "tag"}))[0]["language"] == "es"
    assert reason_of(found, filters={"languages": ["en"]}) == Reason.LANGUAGE


def test_panels_become_pairs_of_one_group(tmp_path: Path) -> None:
    caption = "Brain. (a) Axial CT. (b) T2-weighted MRI."
    rows = [{"id": "f", "image": "f.png", "caption": caption, "group": "article"}]
    options = {"panels": "split", "captions": {"references": "strip"}, "modality": {"by": "evidence"}}
    corpus = run(settings_for(table(tmp_path, rows, {"f.png": compound()}), **options), tmp_path / "out")
    assert corpus.column("id") == ["f#a", "f#b"]
    assert corpus.column("caption") == ["Brain. Axial CT", "Brain. T2-weighted MRI"]
    assert corpus.column("caption_original") == [caption] * 2
    assert corpus.column("modality") == ["ct", "mri"]
    assert corpus.column("panel") == ["a", "b"]
    assert corpus.column("group") == ["article"] * 2
    assert len(set(corpus.column("split"))) == 1
    assert corpus.column("width") == [60, 60]


def test_a_figure_that_cannot_be_taken_apart_stays_whole_or_goes() -> None:
    found = record(image=compound(), caption="(a) CT. (b) MRI. (c) PET.")
    (row,) = checked_pairs(found, chosen(panels="split"))
    assert (row["id"], row["panel"], row["image"]) == ("r1", "whole", found.image)
    assert reason_of(found, panels="drop") == Reason.COMPOUND
    two = record(image=compound(), caption="(a) Axial. (b) Coronal.")
    for options, count in (({}, 2), ({"min_side": 61}, 0), ({"min_side": 60}, 2), ({"min_caption": 7}, 1)):
        if count:
            assert len(checked_pairs(two, chosen(panels="split", **options))) == count
        else:
            assert reason_of(two, panels="split", **options) == Reason.TINY_IMAGE


def test_panels_are_cut_from_the_figure_in_its_own_size() -> None:
    with Image.open(BytesIO(compound())) as image:
        large = encoded(image.resize((1300, 600), Image.Resampling.NEAREST))
    rows = checked_pairs(record(image=large, caption="(a) CT. (b) MRI."), chosen(panels="split", min_caption=2))
    assert [max(row["width"], row["height"]) for row in rows] == [512, 512], "600 pixels, not half of 512"


@needs_realdata
def test_the_real_records_of_biomedica_are_all_accounted_for(tmp_path: Path) -> None:
    source = {"kind": "reference", "name": "b", "path": REALDATA / "embeddings/MMKDCLIP_DATA"}
    options = {
        "panels": "split",
        "captions": {"language": "tag"},
        "filters": {"languages": ["en"], "nonclinical": ["labels", "caption", "image"], "licences": ["permissive"]},
    }
    corpus = run(CurateSettings.model_validate({"sources": [source], **options}), tmp_path / "out")
    (dropped,) = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    assert (dropped["id"][:6], dropped["reason"], dropped["detail"]) == (
        "1b18ef",
        "language",
        "language: es; accepted: en",
    )
    assert len({name.partition("#")[0] for name in corpus.column("id")}) == 7
    assert sorted(corpus.column("panel")) == ["", "", "", "", "a", "a", "b", "b", "c", "d", "e", "whole"]
    evidence = dict(zip(corpus.column("caption"), corpus.column("modality_evidence"), strict=True))
    assert [said for caption, said in evidence.items() if "Fused" in caption] == ["label+!caption"], "a PET/CT as CT"
    assert any(corpus.column("caption_mention"))
