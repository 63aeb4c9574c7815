"""What the page shows and holds, without a browser."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from served_page import colour_service, spot

from mmkd.archive.archive import Hit
from mmkd.errors import ConfigError, DataError
from mmkd.serve.engine.answers import Answer, Evidence, ModelFacts, Score
from mmkd.serve.engine.limits import RequestError
from mmkd.serve.engine.service import Service
from mmkd.serve.page import comparing, views
from mmkd.serve.page.comparing import compare
from mmkd.serve.page.findings import classes_of, known_findings
from mmkd.serve.page.heat import marked, place_of
from mmkd.serve.page.held import KEPT_S, Held
from mmkd.serve.page.uploads import Upload, readable, taken
from mmkd.serve.start import check_compared

EVIL = "<img src=x onerror=alert(1)> & \"quoted\" 'single' {{ 7 * 7 }} ${7 * 7}"
SHOWN = views.Shown("a.png", "data:,", 1, 1)


@pytest.fixture(scope="module")
def service() -> Service:
    return colour_service()


def facts(name: str = "m", card: str = "") -> ModelFacts:
    return ModelFacts(name, "d", "student", 3, "torch", "", [], "", card, {})


def answer(*probabilities: float, label: str | None = "f0", calibrated: bool = False) -> Answer:
    scores = [Score(f"f{number}", value, value) for number, value in enumerate(probabilities)]
    return Answer("m", "d", label, 0.5, calibrated, "of labelled pictures", scores)


def test_findings_are_the_lines_and_those_of_a_set_have_its_prompts() -> None:
    known = {"effusion": ["pleural effusion on x-ray", "effusion"]}
    assert classes_of(" effusion \n\n no   effusion\r\n", known) == {
        "effusion": ["pleural effusion on x-ray", "effusion"],
        "no effusion": ["no effusion"],
    }


@pytest.mark.parametrize(
    ("text", "found"), [("", "no finding"), (" \n", "no finding"), ("a", "one finding, 'a'"), ("a\nb\na", "'a' twice")]
)
def test_too_few_findings_are_refused_with_a_cure(text: str, found: str) -> None:
    with pytest.raises(RequestError, match=found):
        classes_of(text, {})


@settings(max_examples=50, deadline=None)
@given(st.text("ab \t\n\r\u2028\u00a0", max_size=12))
def test_lines_become_classes_once_two_differ_and_none_is_there_twice(text: str) -> None:
    names = [" ".join(row.split()) for row in text.splitlines() if row.strip()]
    if len(names) >= 2 and len(set(names)) == len(names):
        assert classes_of(text, {}) == {name: [name] for name in names}
    else:
        with pytest.raises(RequestError):
            classes_of(text, {})


def test_sets_of_findings_are_those_of_the_run_beside_the_export(tmp_path: Path) -> None:
    assert known_findings(tmp_path / "export") == {}
    classes = [{"name": "a", "prompts": ["an a"]}, {"name": "b", "prompts": ["a b", "b"]}]
    cards = [{"id": "labelled", "classes": classes}, {"id": "retrieval", "classes": []}]
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate" / "cards.jsonl").write_text("".join(f"{json.dumps(card)}\n" for card in cards))
    assert known_findings(tmp_path / "export") == {"labelled": {"a": ["an a"], "b": ["a b", "b"]}}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.0 %"), (0.0004, "< 0.1 %"), (0.5, "50.0 %"), (0.9996, "> 99.9 %"), (1.0, "100.0 %"), (0.999, "99.9 %")],
)
def test_no_probability_is_rounded_to_certainty(value: float, shown: str) -> None:
    assert views.percent(value) == shown


def test_every_piece_of_data_is_shown_as_it_is_and_is_no_markup() -> None:
    hit = Hit(1, 0.5, "id", "source", EVIL, EVIL, EVIL, EVIL, EVIL, 3, b"")
    one = Answer(EVIL, "d", EVIL, 0.0, True, EVIL, [Score(EVIL, 0.9, 0.1), Score("b", 0.1, 0.1)])
    picture = views.Shown(EVIL, "data:,", 1, 1)
    evidence = Evidence(EVIL, Image.new("RGB", (8, 8)), {EVIL: np.ones((8, 8))})
    pages = [
        views.hits([hit], EVIL),
        views.answers([one], [facts(EVIL)]),
        views.pictures([picture], [EVIL]),
        views.where(evidence, [EVIL]),
        views.compared([views.Row(picture, (Score(EVIL, 1, 1), Score("b", 1, 1)))], (EVIL, "other"), True),
    ]
    for page in pages:
        assert "<img src=x" not in page
        assert "&lt;img src=x onerror=alert(1)&gt; &amp; &#34;quoted&#34;" in page
        assert "49" not in page.replace("base64", "").split("data:")[0]


def test_an_abstention_and_a_missing_calibration_are_said() -> None:
    page = views.answers([answer(0.4, 0.35, 0.25, label=None)], [facts()])
    assert "No answer." in page
    assert "has 40.0 %, less than the 50.0 % asked for" in page
    assert "Not calibrated" in page
    assert "No answer" not in views.answers([answer(0.6, 0.4)], [facts()])
    assert "Calibrated: of labelled pictures" in views.answers([answer(0.6, 0.4, calibrated=True)], [facts()])


def test_findings_beyond_the_bars_are_counted() -> None:
    page = views.answers([answer(0.6, *[0.016] * 25)], [facts()])
    assert page.count('class="bar"') == views.MOST_BARS
    assert "6 less probable findings are not shown, together 9.6 %" in page


def test_agreement_comes_with_wilsons_interval() -> None:
    rows = [views.Row(SHOWN, (Score("a", 1, 1), Score("a" if number < 7 else "b", 1, 1))) for number in range(10)]
    page = views.compared(rows, ("one", "two"), calibrated=False)
    z = 1.959964
    middle, half = (0.7 + z**2 / 20) / (1 + z**2 / 10), z * (0.7 * 0.3 / 10 + z**2 / 400) ** 0.5 / (1 + z**2 / 10)
    assert f"({70.0:.1f} %, 95 % interval {100 * (middle - half):.1f} % to {100 * (middle + half):.1f} %)" in page
    assert page.index(">no<") < page.index(">yes<")  # what differs stands first


def test_two_models_are_compared_picture_by_picture(service: Service, tmp_path: Path) -> None:
    files = [
        (name, spot(tmp_path / name, colour).read_bytes()) for name, colour in (("1.png", "red"), ("2.png", "blue"))
    ]
    uploads, wrong = readable(files, service)
    assert not wrong
    classes = {"red": ["red"], "green": ["green"], "blue": ["blue"]}
    rows, calibrated = compare(service, uploads, classes, ("student", "turned"))
    assert [(a.name, b.name) for a, b in (row.tops for row in rows)] == [("red", "green"), ("blue", "red")]
    assert not calibrated  # the teacher is not


def test_where_follows_the_classes_of_the_service(service: Service, tmp_path: Path) -> None:
    data = spot(tmp_path / "a.png", "red", (176, 16)).read_bytes()
    evidence = service.where(data, {"red": ["a red spot", "red"], "blue": ["blue"]})
    assert place_of(evidence.maps["red"]) == "at the upper right"
    assert evidence.view.size == (64, 64)
    page = views.where(evidence, ["red", "blue"])
    assert "Mostly at the upper right" in page
    assert 'alt="Where &#39;red&#39; is seen: at the upper right"' in page


def test_a_flat_map_marks_nothing() -> None:
    view = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    flat = np.asarray(marked(view, np.zeros((8, 8)), 0.0))
    assert (flat[..., 0] == flat[..., 1]).all()
    assert (flat[..., 1] == flat[..., 2]).all()
    page = views.where(Evidence("m", view, {"a": np.full((8, 8), -0.1), "b": np.zeros((8, 8))}), ["a", "b"])
    assert page.count("No place speaks for it.") == 2


def test_uploads_leave_the_disk_and_wrong_ones_are_counted(service: Service, tmp_path: Path) -> None:
    paths = []
    for name, data in (("a.png", spot(tmp_path / "x.png", "red").read_bytes()), ("b.txt", b"no picture")):
        (tmp_path / "up" / name[0]).mkdir(parents=True)
        paths.append(tmp_path / "up" / name[0] / name)
        paths[-1].write_bytes(data)
    uploads, wrong = readable(taken([{"path": str(path)} for path in paths], tmp_path / "up"), service)
    assert list((tmp_path / "up").iterdir()) == []
    assert [one.name for one in uploads] == ["a.png"]
    assert (uploads[0].shown.width, uploads[0].shown.height) == (256, 256)
    assert len(wrong) == 1
    assert wrong[0].startswith("b.txt: unreadable_image")


def test_a_path_outside_the_folder_of_uploads_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not in the subpath"):
        taken([{"path": str(tmp_path / "mine.txt")}], tmp_path / "up")
    assert (tmp_path / "mine.txt").exists()


def upload(size: int) -> list[Upload]:
    return [Upload("a", b"x" * size, SHOWN)]


def test_pictures_are_held_for_their_own_page_and_forgotten_in_time() -> None:
    now = [0.0]
    held = Held(lambda: now[0])
    held.put("anna", "try", upload(1))
    held.put("anna", "search", upload(2))
    held.put("ben", "try", upload(3))
    assert [len(held.get(*key)[0].data) for key in (("anna", "try"), ("anna", "search"), ("ben", "try"))] == [1, 2, 3]
    assert held.get("eve", "try") == []
    held.drop("anna", "try")
    assert held.get("anna", "try") == []
    assert held.get("anna", "search")
    held.drop("anna")
    assert held.get("anna", "search") == []
    now[0] = KEPT_S + 1
    assert held.get("ben", "try") == []


def test_over_the_budget_the_oldest_are_forgotten() -> None:
    held = Held(budget=10)
    for page, size in (("a", 4), ("b", 4), ("c", 4)):
        held.put(page, "try", upload(size))
    assert [bool(held.get(page, "try")) for page in "abc"] == [False, True, True]


def test_the_front_matter_of_a_card_is_not_shown() -> None:
    assert views.card(facts(card="---\nlicence: x\n---\n# Title\ntext")) == "# Title\ntext"
    assert views.card(facts(card="# Title")) == "# Title"
    assert views.card(facts(name="plain")) == "plain has no model card."


def test_of_a_large_folder_pictures_are_chosen_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "MOST", 3)
    for number in range(10):
        spot(tmp_path / f"{number}.png", "red", size=80)
    service = colour_service(folder=tmp_path)
    rows, calibrated, said = comparing.compare_folder(
        service, tmp_path, {"red": ["red"], "blue": ["blue"]}, ("student", "turned")
    )
    service.close()
    assert [row.picture.name for row in rows] == ["0.png", "3.png", "6.png"]
    assert said == f"3 of 10 pictures of {tmp_path.name}, evenly chosen"
    assert not calibrated
    assert [row.tops[0].name for row in rows] == ["red"] * 3


def test_a_folder_without_pictures_or_a_second_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name the other one: --teachers MODEL"):
        check_compared(tmp_path, [])
    with pytest.raises(ConfigError, match="no such folder"):
        check_compared(tmp_path / "none", ["teacher"])
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    with pytest.raises(DataError, match="no picture in it"):
        check_compared(tmp_path, ["teacher"])
