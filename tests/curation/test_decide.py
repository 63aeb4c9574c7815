"""What a recipe asks of a record: nothing by default, and each choice does what it says and no more."""

import json
from dataclasses import replace
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from corpus_samples import REALDATA, encoded, needs_realdata, noise, png, run, settings_for, table
from PIL import Image

from mmkd.curation.captions.clean import clean_caption
from mmkd.curation.facts.pairs import SourceRecord
from mmkd.curation.filters.decide import decide
from mmkd.curation.ledger.steps import STEPS
from mmkd.curation.records.record import Record, Rejected
from mmkd.curation.rejected_examples import rejected_examples
from mmkd.curation.settings.curate import CurateSettings
from mmkd.images.store import stored_image
from mmkd.modalities.taxonomy import canonical_modality
from mmkd.reasons import Reason


def record(**changed: object) -> Record:
    plain = {"id": "r1", "image": png(), "caption": "A nodule", "modality": "CT", "group": "p1", "licence": "CC0"}
    return Record(**{**plain, "source": "s", "where": "t:0", **changed})


def settings(**options: object) -> CurateSettings:
    return settings_for(Path("t.csv"), **options)


def compound() -> bytes:
    """Two noise panels, 60 x 60 pixels, with a white gutter."""
    canvas = np.full((60, 130, 3), 255, np.uint8)
    canvas[:, :60], canvas[:, 70:] = noise(1, 60, 60) // 2 + 40, noise(2, 60, 60) // 2 + 40
    return encoded(canvas)


def decided(found: Record, settings: CurateSettings) -> list[dict[str, Any] | Rejected]:
    return decide(SourceRecord(found), settings)


def reason_of(found: Record, **options: object) -> Reason:
    (rejected,) = decided(found, settings(**options))
    assert isinstance(rejected, Rejected)
    return rejected.reason


def test_by_default_a_record_is_only_cleaned_and_stored() -> None:
    caption = "Figure 1. (a) A <i>cyst</i>. (b) Another, see text."
    found = record(image=compound(), caption=caption, labels=("bar plot",), modality="Mammography")
    (row,) = decided(found, settings())
    image = stored_image(found.image, 16, 512, 10**6)
    assert (row["caption"], row["caption_original"]) == (clean_caption(caption), caption)
    assert (row["image"], row["sha256"], row["phash"]) == (found.image, image.sha256, image.phash)
    assert (row["id"], row["modality"], row["panel"], row["language"]) == ("r1", "x-ray", "", "")


@needs_realdata
def test_by_default_the_real_pairs_keep_their_captions_bytes_and_modalities() -> None:
    rows = [json.loads(line) for line in (REALDATA / "pairs/pairs.jsonl").read_text().splitlines()][::40]
    for row in rows:
        data = (REALDATA / "pairs" / row["image"]).read_bytes()
        (made,) = decided(record(image=data, caption=row["caption"], modality=row["modality"]), settings())
        assert made["caption"] == clean_caption(row["caption"])
        assert made["modality"] == canonical_modality(row["modality"])
        assert made["image"] == stored_image(data, 16, 512, 10**8).data


def test_what_only_labels_say_is_the_modality() -> None:
    found = record(modality="", labels=("angiography", "magnetic resonance"), caption="Axial CT of the brain")
    (row,) = decided(found, settings())
    assert (row["modality"], row["modality_evidence"]) == ("mri", "label+!caption")
    assert row["modality_confidence"] < 0.5
    (row,) = decided(found, settings(modality={"by": "evidence"}))
    assert (row["modality"], row["modality_evidence"]) == ("ct", "!label+caption")
    assert row["labels"] == "angiography; magnetic resonance"


def test_a_record_of_which_nothing_is_said_is_unknown() -> None:
    (row,) = decided(record(modality=""), settings())
    assert (row["modality"], row["modality_evidence"], row["modality_confidence"]) == ("unknown", "", 0.0)


def test_fine_names_and_doubt() -> None:
    found = record(modality="", caption="Mammogram and MRI of the breast")
    (row,) = decided(found, settings(modality={"by": "evidence", "names": "fine"}))
    assert (row["modality"], row["modality_evidence"]) == ("mammography", "caption")
    doubt = {"by": "evidence", "min_confidence": 0.8}
    assert reason_of(found, modality=doubt) == Reason.UNSURE_MODALITY
    (row,) = decided(record(caption="Axial CT"), settings(modality=doubt))
    assert row["modality_confidence"] > 0.99


def test_words_are_checked_before_the_image_is_decoded() -> None:
    broken = record(image=b"no image", caption="Figure 2.", licence="CC BY-NC")
    assert reason_of(broken, filters={"content": True}) == Reason.NO_CONTENT
    assert reason_of(broken, filters={"licences": ["permissive"]}) == Reason.LICENCE
    assert reason_of(broken) == Reason.UNREADABLE_IMAGE


def test_references_are_stripped_and_the_original_is_kept() -> None:
    caption = "Fig. 1: A nodule (Fig. 2) of the lung"
    (row,) = decided(record(caption=caption), settings(captions={"references": "strip"}))
    assert (row["caption"], row["caption_original"]) == ("A nodule of the lung", caption)
    assert reason_of(record(caption="Figure 3."), captions={"references": "strip"}) == Reason.EMPTY_CAPTION


def test_the_mention_is_a_second_caption() -> None:
    found = record(mention="As <xref>Figure 1</xref> shows,\nit grew.")
    assert decided(found, settings())[0]["caption_mention"] == "As Figure 1 shows, it grew."
    assert decided(found, settings(captions={"mention": False}))[0]["caption_mention"] == ""


def test_languages_are_tagged_or_rejected() -> None:
    found = record(caption="Radiografía de tórax que muestra una opacidad en el pulmón")
    assert decided(found, settings(captions={"language": "tag"}))[0]["language"] == "es"
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
    (row,) = decided(found, settings(panels="split"))
    assert (row["id"], row["panel"], row["image"]) == ("r1", "whole", found.image)
    assert reason_of(found, panels="drop") == Reason.COMPOUND
    two = record(image=compound(), caption="(a) Axial. (b) Coronal.")
    for options, count in (({}, 2), ({"min_side": 61}, 0), ({"min_side": 60}, 2), ({"min_caption": 7}, 1)):
        if count:
            assert len(decided(two, settings(panels="split", **options))) == count
        else:
            assert reason_of(two, panels="split", **options) == Reason.TINY_IMAGE


def side_by_side(*panels: np.ndarray, gutter: int = 10) -> bytes:
    """Panels of one height in a row, white between and around them."""
    height, width = panels[0].shape[0] + 2 * gutter, sum(p.shape[1] + gutter for p in panels) + gutter
    canvas, left = np.full((height, width, 3), 255, np.uint8), gutter
    for panel in panels:
        canvas[gutter:-gutter, left : left + panel.shape[1]] = panel
        left += panel.shape[1] + gutter
    return encoded(canvas)


def decisions(found: Record, **options: object) -> list[tuple[str, str]]:
    """Id and modality of each pair, or id and reason."""
    rows = decided(found, settings(panels="split", **options))
    return [(r.id, r.reason) if isinstance(r, Rejected) else (r["id"], r["modality"]) for r in rows]


SCAN, OTHER_SCAN = noise(1, 60, 60) // 2 + 40, noise(2, 60, 60) // 2 + 40


def test_each_panel_is_judged_and_its_figure_is_not() -> None:
    doubt = {"by": "evidence", "min_confidence": 0.8}
    sure = record(image=compound(), modality="", caption="Brain. (a) Axial CT. (b) T2-weighted MRI.")
    assert decisions(sure, modality=doubt) == [("r1#a", "ct"), ("r1#b", "mri")]
    assert reason_of(sure, modality=doubt) == Reason.UNSURE_MODALITY, "in one piece it names two"
    half = record(image=compound(), modality="", caption="Brain. (a) Axial CT. (b) The same child.")
    assert decisions(half, modality=doubt) == [("r1#a", "ct"), ("r1#b", Reason.UNSURE_MODALITY)]


def test_filters_look_at_each_panel() -> None:
    flat = np.full((60, 60, 3), 90, np.uint8)
    blank = record(image=side_by_side(SCAN, flat), caption="(a) Axial CT. (b) Coronal CT.")
    assert decisions(blank, filters={"min_contrast": 2}) == [("r1#a", "ct"), ("r1#b", Reason.BLANK)]
    curves = record(image=compound(), caption="Survival. (a) Axial CT of it. (b) Kaplan-Meier curves.")
    assert decisions(curves, filters={"nonclinical": ["caption"]}) == [("r1#a", "ct"), ("r1#b", Reason.NONCLINICAL)]
    short = record(image=compound(), caption="(a) Axial CT of the liver. (b) Coronal.")
    assert decisions(short, filters={"min_words": 3}) == [("r1#a", "ct"), ("r1#b", Reason.SHORT_CAPTION)]
    empty = record(image=compound(), caption="(a) Axial CT of the liver. (b) See text for details.")
    assert decisions(empty, filters={"content": True}) == [("r1#a", "ct"), ("r1#b", Reason.NO_CONTENT)]
    wide = record(image=side_by_side(SCAN, noise(3, 60, 240) // 2 + 40), caption="(a) Axial CT. (b) A strip.")
    assert decisions(wide, filters={"max_aspect": 3}) == [("r1#a", "ct"), ("r1#b", Reason.ASPECT)]


def test_gutters_are_no_paper_of_a_panel() -> None:
    scans = record(image=side_by_side(SCAN, OTHER_SCAN, gutter=60), caption="(a) Seen from above. (b) From below.")
    drawn = {"nonclinical": ["image"]}
    assert decisions(scans, filters=drawn) == [("r1#a", "ct"), ("r1#b", "ct")]
    assert reason_of(scans, filters=drawn) == Reason.NONCLINICAL, "in one piece it is mostly white"
    assert len(decided(scans, settings(filters={**drawn, "max_paper": 0.9}))) == 1


def test_references_are_stripped_in_whole_figures_and_panels_alike() -> None:
    strip = {"captions": {"references": "strip"}}
    for panels in ("keep", "split", "split_or_drop"):
        assert reason_of(record(caption="Figure 3."), panels=panels, **strip) == Reason.EMPTY_CAPTION
        assert reason_of(record(caption="Figure 3. ab"), panels=panels, **strip) == Reason.SHORT_CAPTION
    two = record(image=compound(), caption="Figure 3. (a) Axial CT. (b) CT.")
    (row,) = decided(two, settings(panels="split", **strip))
    assert (row["panel"], row["caption"]) == ("whole", "Axial CT. CT."), "stripped, b has two characters"
    rows = decided(two, settings(panels="split", min_caption=2, **strip))
    assert [row["caption"] for row in rows] == ["Axial CT", "CT"]


def test_what_keeps_a_figure_out_keeps_its_panels_out_undecoded() -> None:
    broken = record(image=b"no image", caption="(a) CT. (b) MRI.", licence="CC BY-NC", labels=("bar plot",))
    assert reason_of(broken, panels="split", filters={"licences": ["permissive"]}) == Reason.LICENCE
    assert reason_of(broken, panels="split", filters={"nonclinical": ["labels"]}) == Reason.NONCLINICAL
    assert reason_of(broken, panels="split", filters={"min_words": 99}) == Reason.UNREADABLE_IMAGE
    assert reason_of(broken, panels="keep", filters={"min_words": 99}) == Reason.SHORT_CAPTION
    whole = record(image=b"no image", caption="Figure 2.")
    assert reason_of(whole, panels="split", filters={"content": True}) == Reason.NO_CONTENT


def test_every_record_and_panel_is_accounted_for(tmp_path: Path) -> None:
    flat = np.full((60, 60, 3), 90, np.uint8)
    images = {"two.png": compound(), "blank.png": side_by_side(SCAN, flat), "one.png": png(5, 60, 60)}
    rows = [
        {"id": "x", "image": "two.png", "caption": "(a) Axial CT. (b) T2-weighted MRI."},
        {"id": "y", "image": "blank.png", "caption": "(a) Axial CT of it. (b) Nothing at all."},
        {"id": "z", "image": "one.png", "caption": "A nodule in the lung"},
        {"id": "w", "image": "two.png", "caption": "(a) CT. (b) MRI. (c) PET."},
    ]
    options = {"panels": "split_or_drop", "filters": {"min_contrast": 2}, "max_rejected": 0.9}
    corpus = run(settings_for(table(tmp_path, rows, images), **options), tmp_path / "out")
    rejected = pq.read_table(corpus.folder / "rejected.parquet").to_pylist()
    assert corpus.column("id") == ["x#a", "x#b", "y#a", "z"]
    assert [(row["id"], row["reason"]) for row in rejected] == [("y#b", "blank_image"), ("w", "compound_figure")]
    total = json.loads((corpus.folder / "funnel.json").read_text())["total"]
    assert (total["read"], total["kept"], total["rejected"]) == (6, 4, 2)
    shown = {one.id: Image.open(BytesIO(one.jpeg)).size for one in rejected_examples(corpus.folder)}
    assert shown == {"y#b": (60, 60), "w": (130, 60)}, "of a panel that was rejected, the panel"


def test_panels_are_cut_from_the_figure_in_its_own_size() -> None:
    with Image.open(BytesIO(compound())) as image:
        large = encoded(image.resize((1300, 600), Image.Resampling.NEAREST))
    rows = decided(record(image=large, caption="(a) CT. (b) MRI."), settings(panels="split", min_caption=2))
    assert [max(row["width"], row["height"]) for row in rows] == [512, 512], "600 pixels, not half of 512"


def test_the_steps_of_the_funnel_stand_in_the_order_of_the_checks() -> None:
    """One thing after the other is mended in a record in which nothing is right."""
    white = np.full((40, 200, 3), 255, np.uint8)
    compound_plot = white.copy()
    compound_plot[5:35, 20:80] = compound_plot[5:35, 120:180] = 90
    mended: list[tuple[Reason, dict[str, object]]] = [
        (Reason.LONG_CAPTION, {"caption": "a" * 20_000, "licence": "CC BY-NC", "modality": "", "image": b"none"}),
        (Reason.EMPTY_CAPTION, {"caption": "<p></p>"}),
        (Reason.SHORT_CAPTION, {"caption": "ab"}),
        (Reason.LICENCE, {"caption": "Figura 2. Que muestra una de las figuras en el texto"}),
        (Reason.LANGUAGE, {"licence": "CC0"}),
        (Reason.NO_CONTENT, {"caption": "See the main text for details"}),
        (Reason.UNSURE_MODALITY, {"caption": "A finding"}),
        (Reason.UNREADABLE_IMAGE, {"modality": "CT"}),
        (Reason.DECOMPRESSION_BOMB, {"image": png(1, 300, 300)[:60]}),
        (Reason.TINY_IMAGE, {"image": png(1, 8, 8)[:60]}),
        (Reason.TRUNCATED_IMAGE, {"image": png(1, 40, 200)[:60]}),
        (Reason.COMPOUND, {"image": encoded(compound_plot)}),
        (Reason.ASPECT, {"image": encoded(white)}),
        (Reason.BLANK, {"image": encoded(white[:, :40])}),
        (Reason.NONCLINICAL, {"image": encoded(compound_plot[:, 110:190]), "caption": "A finding"}),
    ]
    wanted = {"licences": ["permissive"], "languages": ["en"], "content": True}
    looks = {"max_aspect": 3, "min_contrast": 20, "nonclinical": ["image"], "max_paper": 0.45}
    options = {"filters": {**wanted, **looks}, "modality": {"min_confidence": 0.8}, "panels": "drop"}
    found = record()
    for reason, changed in mended:
        found = replace(found, **changed)
        assert reason_of(found, max_pixels=80_000, **options) == reason
    assert not isinstance(decided(replace(found, image=png()), settings(**options))[0], Rejected)
    checked = [reason for reason in chain(*STEPS.values()) if reason in dict(mended)]
    assert checked == [reason for reason, _ in mended]


@needs_realdata
def test_the_real_records_of_biomedica_are_all_accounted_for(tmp_path: Path) -> None:
    source = {"kind": "reference", "name": "b", "path": REALDATA / "embeddings/MMKDCLIP_DATA"}
    options = {
        "panels": "split",
        "captions": {"language": "tag"},
        "filters": {"languages": ["en"], "nonclinical": ["labels", "caption", "image"], "licences": ["permissive"]},
    }
    corpus = run(CurateSettings.model_validate({"sources": [source], **options}), tmp_path / "out")
    (rejected,) = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    assert (rejected["id"][:6], rejected["reason"], rejected["detail"]) == (
        "1b18ef",
        "language",
        "language: es; accepted: en",
    )
    assert len({name.partition("#")[0] for name in corpus.column("id")}) == 7
    assert sorted(corpus.column("panel")) == ["", "", "", "", "a", "a", "b", "b", "c", "d", "e", "whole"]
    evidence = dict(zip(corpus.column("caption"), corpus.column("modality_evidence"), strict=True))
    assert [said for caption, said in evidence.items() if "Fused" in caption] == ["label+!caption"], "a PET/CT as CT"
    assert any(corpus.column("caption_mention"))
