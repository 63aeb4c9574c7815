"""Labels: right probabilities, calibration, conformal sets against MAPIE, abstention, and the page."""

import csv
import json
import re
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from corpus_samples import png
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin

from mmkd.cards.catalogue import catalogue_cards
from mmkd.cards.readers.tables import table_rows
from mmkd.errors import ConfigError, DataError
from mmkd.inference.embed import check_out, embed
from mmkd.inference.model import Model, model_spec, open_model
from mmkd.inference.pictures import Picture, SourceOptions, pictures
from mmkd.inference.torch_model import open_torch
from mmkd.labels.calibrate import Calibration, of_labelled, of_run, places_of, run_of, uncalibrated
from mmkd.labels.classes import Classes, classes_of, of_names, of_table
from mmkd.labels.classify import Classified, classify, probabilities, zero_shot
from mmkd.labels.conformal import measured_coverage
from mmkd.labels.head import Head, by_prompts
from mmkd.labels.label import SUFFIXES, Labelled, calibration_from, decimals, label
from mmkd.labels.page import write_labels_page
from mmkd.statistics.calibration import fit_temperature
from mmkd.statistics.conformal import fewest_groups, in_sets, threshold
from mmkd.teachers.zoo.settings import TeacherSpec

RAW = SourceOptions()
SMALL = png(0)
CLASSES = of_table({"clear lungs": ["normal lungs", "an x-ray of {}"], "a mass": "{}", "an effusion": []})


@pytest.fixture(scope="session")
def folder(tiny_teachers: list[TeacherSpec]) -> str:
    return tiny_teachers[0].model.removeprefix("local-dir:")


@pytest.fixture(scope="session")
def model(folder: str) -> Model:
    return open_model(folder, "cpu")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for number in range(9):
        (tmp_path / f"pictures/{number}.png").write_bytes(png(number))
    (tmp_path / "pictures/bad.jpg").write_bytes(b"no picture")
    return tmp_path / "pictures"


def drawn(pictures: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and labels drawn from softmax(score / 0.5): 0.5 is the temperature."""
    rng = np.random.default_rng(seed)
    score_NC = rng.normal(size=(pictures, classes)).astype(np.float32)
    share_NC = probabilities(score_NC, 0.5)
    return score_NC, (share_NC.cumsum(axis=1) < rng.random((pictures, 1))).sum(axis=1)


def test_probabilities_are_those_of_open_clip(model: Model, folder: str, source: Path) -> None:
    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    network.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")
    images = [Image.open(source / f"{number}.png").convert("RGB") for number in range(4)]
    with torch.no_grad():
        image_ND = network.encode_image(torch.stack([transform(image) for image in images]), normalize=True)
        text = [network.encode_text(tokens(list(own)), normalize=True).mean(0) for own in CLASSES.prompts]
        class_CD = torch.nn.functional.normalize(torch.stack(text), dim=-1)
        wanted = (network.logit_scale.exp() * image_ND @ class_CD.T).softmax(dim=-1).numpy()
    found = classify(model, images, CLASSES)
    np.testing.assert_allclose(found.probability_NC, wanted, atol=1e-4)
    assert found.labels() == [CLASSES.names[place] for place in wanted.argmax(axis=1)]
    hot = classify(model, model.encode_images(images), CLASSES, temperature=1e3)
    np.testing.assert_allclose(hot.probability_NC, 1 / 3, atol=1e-3)
    assert found.table().column_names[:3] == ["label", "probability", "probability:clear lungs"]
    with pytest.raises(ConfigError, match="temperature 0, expected a positive"):
        classify(model, images, CLASSES, temperature=0)


class Known(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose features are its probabilities."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(self.classes)

    def fit(self, X: np.ndarray, y: np.ndarray) -> "Known":
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return X

    def predict(self, X: np.ndarray) -> np.ndarray:
        return X.argmax(axis=1)


@pytest.mark.parametrize(("pictures", "classes", "coverage"), [(100, 4, 0.9), (57, 3, 0.8), (203, 6, 0.95)])
def test_sets_are_those_of_mapie(pictures: int, classes: int, coverage: float) -> None:
    score_NC, label_N = drawn(2 * pictures, classes, seed=pictures)
    share_NC = probabilities(score_NC, 0.5)
    here, there = share_NC[:pictures], share_NC[pictures:]
    mapie = SplitConformalClassifier(Known(classes), confidence_level=coverage, conformity_score="lac")
    _, wanted = mapie.conformalize(here, label_N[:pictures]).predict_set(there)
    least = threshold(here[np.arange(pictures), label_N[:pictures]], np.arange(pictures), coverage)
    np.testing.assert_array_equal(there >= least, wanted[:, :, 0])
    empty_N = ~wanted[:, :, 0].any(axis=1)
    np.testing.assert_array_equal(in_sets(there, least)[~empty_N], wanted[~empty_N, :, 0])
    assert in_sets(there, least)[empty_N].sum() == empty_N.sum()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6)), min_size=1, max_size=40), st.floats(0.05, 0.95))
def test_the_threshold_by_brute_force(drawn_N: list[tuple[float, int]], coverage: float) -> None:
    true_N, group_N = np.array([one for one, _ in drawn_N]), np.array([group for _, group in drawn_N])
    groups = np.unique(group_N)
    least = threshold(true_N, group_N, coverage)

    def mass(limit: float) -> float:
        return float(sum((true_N[group_N == g] >= limit).mean() for g in groups) / (len(groups) + 1))

    reached = [limit for limit in true_N.tolist() if mass(limit) >= coverage - 1e-7]
    assert least == pytest.approx(max(reached, default=0.0))


def test_a_patient_with_many_pictures_weighs_as_one() -> None:
    true_N, group_N = np.linspace(0.1, 0.9, 60), np.arange(60)
    many_N, of_one_N = np.append(true_N, [0.01] * 500), np.append(group_N, [60] * 500)
    assert threshold(many_N, of_one_N, 0.9) == pytest.approx(np.sort(true_N)[5], abs=0.03)
    assert threshold(many_N, np.arange(560), 0.9) == pytest.approx(0.01)


def test_coverage_is_reached_and_measured() -> None:
    covered, told = [], []
    for seed in range(20):
        score_NC, label_N = drawn(1000, 4, seed)
        found = of_labelled(score_NC[:300], label_N[:300], [f"p{n // 2}" for n in range(300)], 0.9, seed)
        assert found.temperature == pytest.approx(0.5, abs=0.25)
        share_NC = probabilities(score_NC[300:], found.temperature)
        covered.append((in_sets(share_NC, found.least)[np.arange(700), label_N[300:]]).mean())
        told.append(found.coverage)
    assert 0.88 < np.mean(covered) < 0.94
    assert 0.88 < np.mean([one.value for one in told]) < 0.93
    assert all(one.low <= one.value <= one.high for one in told)
    assert np.mean([one.low <= 0.905 <= one.high for one in told]) >= 0.7


@pytest.mark.parametrize("coverage", [0.0, 0.9])
def test_labelled_pictures_that_are_all_right_give_a_bounded_temperature(coverage: float) -> None:
    label_N = np.arange(120) % 3
    found = of_labelled(np.eye(3)[label_N], label_N, [f"p{n}" for n in range(120)], coverage, 0)
    groups = 40 if coverage else 120
    (share_C,) = probabilities(np.eye(3)[:1], found.temperature)
    assert share_C[0] == pytest.approx((groups + 1) / (groups + 2))
    assert not found.calibrated
    assert (
        f"of which all are right, so that no temperature fits best: this one fits if the next of {groups + 2}"
        in str(found)
    )
    assert (found.least is not None) == bool(coverage)


def test_scores_that_say_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="scores say nothing of the labels"):
        of_labelled(np.zeros((120, 3)), np.arange(120) % 3, [f"p{n}" for n in range(120)], 0.0, 0)


def test_no_group_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmkd.labels import calibrate

    score_NC, label_N = drawn(400, 3, 0)
    groups = [f"p{n % 130}" for n in range(400)]
    taken = []
    monkeypatch.setattr(calibrate, "fit_temperature", lambda s, y: taken.append(len(s)) or fit_temperature(s, y))
    seen = []
    monkeypatch.setattr(calibrate, "threshold", lambda t, g, c: seen.append(np.unique(g)) or threshold(t, g, c))
    found = of_labelled(score_NC, label_N, groups, 0.9, 0)
    names = np.unique(groups)
    others = {names[number] for number in seen[0]}
    assert taken[0] == sum(group not in others for group in groups)
    assert f"sets from {400 - taken[0]} others (130 groups" in str(found)


@pytest.mark.parametrize(
    ("pictures", "groups", "coverage", "message"),
    [
        (
            60,
            60,
            0.9,
            "60 labelled pictures found, sets with 90% coverage need 75; label more of them; or --coverage 0",
        ),
        (300, 40, 0.9, r"of 40 groups \(patients\) found"),
        (10, 10, 0.0, "a temperature needs 20"),
    ],
)
def test_too_few_labels_are_refused(pictures: int, groups: int, coverage: float, message: str) -> None:
    score_NC, label_N = drawn(pictures, 3, 0)
    with pytest.raises(DataError, match=message):
        of_labelled(score_NC, label_N, [str(n % groups) for n in range(pictures)], coverage, 0)
    assert fewest_groups(0.9) == 50


def test_labels_of_no_class_are_named() -> None:
    assert places_of(["A mass", "", "clear lungs"], CLASSES).tolist() == [1, -1, 0]
    with pytest.raises(DataError, match=r"labels that are no class: 'mass' \(2\); the classes are clear lungs"):
        places_of(["mass", "mass", "a mass"], CLASSES)


def test_classes_from_everywhere(tmp_path: Path) -> None:
    assert classes_of("x-ray, ct ,mri") == of_names(["x-ray", "ct", "mri"])
    path = tmp_path / "classes.toml"
    path.write_text('benign = ["a {} lesion", "harmless"]\nmalignant = "melanoma"\n')
    found = classes_of(str(path))
    assert found.prompts == (("a benign lesion", "harmless"), ("melanoma",))
    card = next(card for card in catalogue_cards().values() if not card.multi_label and len(card.classes) > 1)
    assert classes_of("", card.id).prompts == tuple(tuple(one.prompts) for one in card.classes)
    many = next(card for card in catalogue_cards().values() if card.multi_label)
    with pytest.raises(ConfigError, match="several of its classes"):
        classes_of("", many.id)


@pytest.mark.parametrize(
    ("classes", "card", "message"),
    [
        ("one", "", "1 class found"),
        ("a,a", "", "stands twice"),
        ("A mass,a mass", "", "'A mass' stands twice, once as 'a mass'"),
        ("a,,b", "", "no prompt, or an empty one"),
        ("", "", "give either"),
        ("a,b", "lc25000", "give either"),
        ("", "lc25000_lun", "no such card"),
    ],
)
def test_classes_that_do_not_do(classes: str, card: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        classes_of(classes, card)


def test_a_class_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="empty name"):
        of_table({" ": ["a lesion"], "b": []})


def test_a_runs_calibration_is_not_used_for_other_prompts(tmp_path: Path) -> None:
    card = next(card for card in catalogue_cards().values() if not card.multi_label and len(card.classes) > 1)
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "mine.toml").touch()
    for prompts, expected in ((None, card.id), (["something else"], "")):
        classes = [{"name": one.name, "prompts": prompts or list(one.prompts)} for one in card.classes]
        (tmp_path / "evaluate/cards.jsonl").write_text(json.dumps({"id": card.id, "classes": classes}))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mmkd.labels.classes.read_card", lambda path: card)
            assert classes_of("", str(tmp_path / "mine.toml"), tmp_path).card == expected


@pytest.mark.parametrize("least", [float("nan"), -0.1, 1.1])
def test_a_threshold_that_is_no_probability_is_refused(
    model: Model, source: Path, tmp_path: Path, least: float
) -> None:
    with pytest.raises(ConfigError, match="--threshold"):
        made(source, model, tmp_path / "l.csv", uncalibrated(model.scale), least)


@pytest.mark.parametrize("name", ["l.csv", "l.parquet"])
def test_what_is_read_is_not_replaced(tmp_path: Path, name: str) -> None:
    for read in (name, "l.json"):
        with pytest.raises(ConfigError, match=f"would replace .*{read}"):
            check_out(tmp_path / read, tmp_path / name, SUFFIXES)
        with pytest.raises(ConfigError, match=f"would replace .*{read}"):
            check_out(tmp_path / "other.csv", tmp_path / name, SUFFIXES, tmp_path / "x" / ".." / read)
    check_out(tmp_path / "m.csv", tmp_path / name, SUFFIXES, tmp_path / "n.csv")


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.lists(st.text()), st.integers(), st.none())))
def test_any_table_is_classes_or_is_refused(table: dict[str, object]) -> None:
    try:
        found = of_table(table)
    except ConfigError:
        return
    assert isinstance(found, Classes)
    assert all(own and all(own) for own in found.prompts)


def made(source: Path, model: Model, out: Path, calibration: Calibration, least: float = 0.0) -> Labelled:
    return label(source, model, Head(CLASSES, zero_shot(model, CLASSES), calibration), out, least, RAW, 1)


def test_a_table_of_labels(model: Model, source: Path, tmp_path: Path) -> None:
    calibration = Calibration(0.05, "by hand", True, least=0.3)
    vector_ND = model.encode_images([Image.open(source / f"{n}.png").convert("RGB") for n in range(9)])
    wanted = classify(model, vector_ND, CLASSES, 0.05)
    least = float(np.median(wanted.probability_NC.max(axis=1)))
    found = made(source, model, tmp_path / "l.csv", calibration, least)
    with (tmp_path / "l.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [f"{n}.png" for n in range(9)]
    for row, name, share_C in zip(rows, wanted.labels(), wanted.probability_NC, strict=True):
        assert row["abstained"] == str(share_C.max() < least).lower()
        assert row["label"] == ("" if share_C.max() < least else name)
        assert float(row["probability:a mass"]) == pytest.approx(share_C[1], abs=1e-4)
        assert row["set"] == "; ".join(np.array(CLASSES.names)[(share_C >= 0.3) | (share_C == share_C.max())])
    assert (found.abstained, found.rejected) == (4, {"unreadable_image": 1})
    assert found.classes.total() == 5
    assert json.loads((tmp_path / "l.json").read_text())["temperature"] == 0.05
    made(source, model, tmp_path / "l.parquet", calibration, least)
    table = pq.read_table(tmp_path / "l.parquet")
    assert table["set"].to_pylist() == [row["set"].split("; ") for row in rows]
    assert table["abstained"].to_pylist() == [row["abstained"] == "true" for row in rows]


def test_calibration_from_a_table(model: Model, tmp_path: Path) -> None:
    images = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (32, 32, 3), np.uint8)) for n in range(90)]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    score_NC = model.encode_images(images) @ np.stack([model.encode_texts(own).mean(0) for own in CLASSES.prompts]).T
    label_N = (score_NC + np.random.default_rng(0).gumbel(size=score_NC.shape) * 0.02).argmax(axis=1)
    lines = [f"{n}.png,{CLASSES.names[place]},p{n}" for n, place in enumerate(label_N)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["file,truth,patient", *lines]))
    found = calibration_from(table, "truth", model, by_prompts(model, CLASSES, None), 0.8, RAW, tmp_path / "work", 1)
    assert found.least is not None
    assert 0.003 < found.temperature < 0.2
    assert not (tmp_path / "work").exists()
    with pytest.raises(ConfigError, match="no such column among file, truth, patient"):
        calibration_from(table, "label", model, by_prompts(model, CLASSES, None), 0.8, RAW, tmp_path / "work", 1)
    table.write_text("\n".join(["file,truth,patient", *lines, "gone.png,a mass,p"]))
    with pytest.raises(DataError, match=r"1 labelled pictures cannot be read, the first gone\.png"):
        calibration_from(table, "truth", model, by_prompts(model, CLASSES, None), 0.8, RAW, tmp_path / "work", 1)


def test_the_temperature_of_a_run_is_recovered(tmp_path: Path) -> None:
    score_NC, _ = drawn(50, 3, 0)
    share_NC = probabilities(score_NC, 0.07).astype(np.float32)
    import pyarrow as pa

    columns = {f"score:{c}": score_NC[:, c] for c in range(3)} | {f"probability:{c}": share_NC[:, c] for c in range(3)}
    path = tmp_path / "evaluate/predictions/zero_shot/ct/student.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns), path)
    found = of_run(tmp_path, "ct")
    assert found is not None
    assert found.temperature == pytest.approx(0.07, rel=1e-4)
    assert of_run(tmp_path, "mri") is None
    sure = columns | {f"probability:{c}": np.eye(3, dtype=np.float32)[score_NC.argmax(1), c] for c in range(3)}
    pq.write_table(pa.table(sure), path)
    assert of_run(tmp_path, "ct") is None  # probabilities of 0 and 1 do not tell it
    for name, content in {"export": {"inputs": {"evaluate": "x"}}, "evaluate": {"digest": "x"}}.items():
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "manifest.json").write_text(json.dumps(content))
    assert run_of(str(tmp_path / "export")) == tmp_path
    (tmp_path / "evaluate/manifest.json").write_text('{"digest": "y"}')
    assert run_of(str(tmp_path / "export")) is None
    assert "not calibrated" in str(uncalibrated(100.0))


def test_the_page_holds_no_script_and_says_what_it_leaves_out(
    model: Model, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmkd.labels import page

    monkeypatch.setattr(page, "SHOWN", 5)
    found = made(source, model, tmp_path / "l.csv", uncalibrated(model.scale), 0.4)
    write_labels_page(tmp_path / "l.html", source, found, RAW, 0.4, "<b>model</b>")
    shown = (tmp_path / "l.html").read_text()
    assert "<script" not in shown
    assert "<b>model" not in shown
    assert "5 of 9 pictures are shown" in shown
    assert len(re.findall(r"data:image/jpeg", shown)) == 5
    assert "These probabilities are not calibrated" in shown


def test_measured_coverage_by_hand() -> None:
    """Where every true class is certain, the sets are exact, however the folds fall."""
    label_N = np.arange(60) % 3
    found = measured_coverage(np.eye(3)[label_N], label_N, np.arange(60) // 2, 0.8, 0)
    assert (found.value, found.low, found.high, found.size) == (1.0, 1.0, 1.0, 1.0)


NAMES = ["=1+1.png", "+a.png", "-b.png", "@c.png", "'=d.png", "x;=e.png", "\tf.png", "-5", "plain.png"]


def test_names_that_a_spreadsheet_would_run_are_harmless_and_read_back(model: Model, tmp_path: Path) -> None:
    """Of labels, of the list beside `.npy` and of what could not be read."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for place, name in enumerate(NAMES):
        path = folder / (name if name.endswith(".png") else f"{name}.png")
        path.write_bytes(png(place))
    (folder / "=bad.png").write_bytes(b"no picture")
    classes = of_names(["=SUM(A1)", "-a mass"])
    label(folder, model, by_prompts(model, classes, None), tmp_path / "l.csv", 0.0, RAW, 1)
    embed(folder, model, tmp_path / "v.npy", workers=1)
    expected = {one.id for one in pictures(folder) if isinstance(one, Picture)} - {"=bad.png"}
    for name in ("l.csv", "v.ids.csv"):
        with (tmp_path / name).open(newline="", encoding="utf-8") as stream:
            written = [cell for row in csv.reader(stream) for cell in row]
        assert not [
            cell for cell in written if re.match(r"[=+\-@\t\r]", cell) and not re.fullmatch(r"-?[\d.e-]+", cell)
        ]
        rows = [row for _, row in table_rows(tmp_path / name)]
        assert {row["id"] for row in rows} == {row["path"] for row in rows} == expected
    assert {row["label"] for _, row in table_rows(tmp_path / "l.csv")} <= set(classes.names)
    assert next(row for _, row in table_rows(tmp_path / "l.rejected.csv"))["id"] == "=bad.png"
    (folder / "l.csv").write_bytes((tmp_path / "l.csv").read_bytes())  # beside the pictures: a source of its own
    assert {one.id for one in pictures(folder / "l.csv") if isinstance(one, Picture)} == expected


@pytest.mark.slow
def test_a_thousand_classes(model: Model, tmp_path: Path) -> None:
    """600 pictures of 1,000 classes: the page is small, each of its filters shows a picture, little memory is used."""
    names = [f"finding {place}" for place in range(1000)]
    share_NC = np.full((600, 1000), 1e-4)
    share_NC[np.arange(600), np.arange(600) % 550] = 0.9
    (tmp_path / "p").mkdir()
    table = Classified(of_names(names), share_NC).table()
    for name in ("path", "id"):
        table = table.add_column(0, name, pa.array([f"{place:03}.png" for place in range(600)]))
    table = table.append_column("set", pa.array([names[:900]] * 600)).append_column(
        "abstained", pa.array([False] * 600)
    )
    for place in range(600):
        (tmp_path / f"p/{place:03}.png").write_bytes(SMALL)
    count = Counter(table["label"].to_pylist())
    found = Labelled(tmp_path / "l.csv", uncalibrated(100.0), count, 0, Counter(), None, [table])
    tracemalloc.start()
    write_labels_page(tmp_path / "l.html", tmp_path / "p", found, RAW, 0.0, "model")
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    page = (tmp_path / "l.html").read_text()
    assert len(page) < 2e6
    assert "480 of 600 pictures are shown" in " ".join(page.split())
    assert "of 480 of 550 labels" in " ".join(page.split())
    assert "456 rarer labels" in page
    shown = {int(place) for place in re.findall(r'class="card l([0-9]+)"', page)}
    assert shown == {int(place) for place in re.findall(r'id="f([0-9]+)"', page)} == set(range(480))
    assert "finding 9 and 890 more" in page


def test_many_texts_are_encoded_in_parts(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, sizes = open_torch(model_spec(f"local-dir:{folder}"), "cpu", "fp32"), []
    encode = opened._teacher.encode_texts
    monkeypatch.setattr(opened._teacher, "encode_texts", lambda texts: sizes.append(len(texts)) or encode(texts))
    texts = [f"finding {place}" for place in range(600)]
    vector_TD = opened.encode_texts(texts)
    assert sizes == [256, 256, 88]
    np.testing.assert_allclose(vector_TD, encode(texts).numpy(), atol=1e-6)
    assert opened.encode_texts([]).shape == (0, opened.dim)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.00000"),
        (6.48207e-10, "0.000000000648207"),
        (0.0, "0.00000"),
        (0.99999912, "0.999999"),
        (0.25, "0.250000"),
    ],
)
def test_numbers_in_csv_have_six_digits_and_no_exponent(value: float, text: str) -> None:
    assert decimals(value) == text


@given(st.lists(st.floats(0, 1, width=32), min_size=2))
def test_numbers_in_csv_keep_their_order(values: list[float]) -> None:
    written = [float(decimals(value)) for value in sorted(values)]
    assert written == sorted(written)
    assert not any("e" in decimals(value) for value in values)
