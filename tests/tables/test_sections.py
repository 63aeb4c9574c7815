"""Sections of radiology reports: which headings there are, that no text is lost, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.sections import TITLES, SectionKeys, chosen_sections, sections_in, title_key

BOTH = SectionKeys(sections=("findings", "impression"))
PLAIN = """EXAMINATION: CHEST (PA AND LAT)

INDICATION:  Cough.  // pneumonia?

FINDINGS:

LUNGS: clear, compared with the prior
examination. HEART: normal.

IMPRESSION:

No acute disease.
"""
WRITTEN = {
    "capitals with colons": PLAIN,
    "line ends of Windows": PLAIN.replace("\n", "\r\n"),
    "one line": " ".join(PLAIN.split()),
    "mixed case": PLAIN.replace("FINDINGS", "Findings").replace("IMPRESSION", "Impression"),
    "Markdown": PLAIN.replace("FINDINGS:", "## Findings").replace("IMPRESSION:", "**Impression:**"),
    "bold in one line": " ".join(
        PLAIN.replace("FINDINGS:", "**Findings:**").replace("IMPRESSION:", "__Impression__:").split()
    ),
    "numbered": PLAIN.replace("FINDINGS", "2. FINDINGS").replace("IMPRESSION", "(3) Impression"),
    "headings without colons": PLAIN.replace("FINDINGS:", "FINDINGS").replace("IMPRESSION:", "Impression"),
    "dashes": PLAIN.replace("FINDINGS:\n", "FINDINGS -\n").replace("IMPRESSION:", "IMPRESSION --"),
    "small letters": PLAIN.lower(),
    "singular, plural": PLAIN.replace("FINDINGS", "Finding(s)").replace("IMPRESSION", "IMPRESSIONS"),
    "a qualifier": PLAIN.replace("FINDINGS", "CHEST FINDINGS").replace("IMPRESSION", "Final impression"),
    "an addendum": PLAIN + "\nADDENDUM: read by another\nSigned by: N. N.",
}


def words(text: object) -> str:
    return " ".join(str(text).split()).lower()


@pytest.mark.parametrize("report", WRITTEN.values(), ids=WRITTEN)
def test_findings_and_impression_however_they_are_written(report: str) -> None:
    findings = "lungs: clear, compared with the prior examination. heart: normal."
    assert words(chosen_sections(report, BOTH)[0]) == f"{findings} no acute disease."
    assert words(chosen_sections(report, SectionKeys(sections=("impression",)))[0]) == "no acute disease."
    turned = SectionKeys(sections=("Impression", "FINDINGS", "technique"))
    assert words(chosen_sections(report, turned)[0]) == f"no acute disease. {findings}"


def test_one_heading_of_two_sections() -> None:
    report = "Technique: CT.\nFindings and impression: A nodule.\nRecommendations: none."
    for keys in (BOTH, SectionKeys(sections=("impression",))):
        assert chosen_sections(report, keys) == ("A nodule.", False)
    assert [section.titles for section in sections_in("FINDINGS/IMPRESSION: x")][1] == ("finding", "impression")


@pytest.mark.parametrize(
    "prose",
    [
        "There are no findings: the lungs are clear.",
        "The impression of the\nimpression remains.",
        "compared with the previous\nexamination, the findings are stable",
        "LUNGS: clear. HEART: normal. Impressions were taken.",
        "unchanged since\nfindings: of last year",
    ],
)
def test_prose_has_no_headings(prose: str) -> None:
    assert len(sections_in(prose)) == 1


def test_other_languages_are_named_by_the_recipe() -> None:
    report = "Klinische Angaben: Husten.\nBefund: Kein Erguss.\nBeurteilung: Altersentsprechend."
    keys = SectionKeys(sections=("Befund", "Beurteilung"))
    assert chosen_sections(report, keys) == ("Kein Erguss.\nAltersentsprechend.", False)


def test_keys_of_objects_and_lists_of_reports() -> None:
    report = {"Findings": "clear", "IMPRESSION": " normal ", "images": ["a", "b"], "history": "cough"}
    assert chosen_sections(report, BOTH) == ("clear\nnormal", False)
    assert chosen_sections([report, "IMPRESSION: x"], BOTH) == (["clear\nnormal", "x"], False)
    with pytest.raises(BadRecordError, match="a list found"):
        chosen_sections(report, SectionKeys(sections=("images",)))


def test_reports_without_the_sections_are_refused_or_whole() -> None:
    for report, found in (("TECHNIQUE: CT.\nIMPRESSION:\n", "technique, impression"), ("clear", "none")):
        with pytest.raises(BadRecordError, match=f"sections found: {found}") as refused:
            chosen_sections(report, BOTH)
        assert refused.value.reason == Reason.MISSING_SECTION
        assert chosen_sections(report, SectionKeys(sections=("findings",), otherwise="whole")) == (report, True)
    whole = SectionKeys(sections=("findings",), otherwise="whole")
    assert chosen_sections({"history": "cough", "impression": "normal"}, whole) == ("cough\nnormal", True)
    for value in (None, "", float("nan"), 3):
        assert chosen_sections(value, BOTH)[0] is value
    assert chosen_sections("FINDINGS: x", SectionKeys()) == ("FINDINGS: x", False)


PIECES = st.one_of(
    st.sampled_from([title.upper() for title in TITLES] + ["Findings", "impression"]),
    st.sampled_from(["\n", "\n\n", "\r\n", ":", ": ", " ", "\t", "**", "## ", "1. ", "- ", " and ", "/", "."]),
    st.text(max_size=8),
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_sections_one_behind_the_other_are_the_report(report: str) -> None:
    found = sections_in(report, ["befund"])
    assert "".join(section.heading + section.body for section in found) == report
    assert all(section.heading and section.titles for section in found[1:])


BODIES = st.text("abcxyz,. \n", min_size=1, max_size=30).filter(str.strip)


@given(st.lists(st.tuples(st.sampled_from(TITLES), BODIES), max_size=6))
def test_what_is_written_below_headings_is_found(written: list[tuple[str, str]]) -> None:
    report = "".join(f"{title.upper()}: {body}\n" for title, body in written)
    found = [(section.titles, section.body.strip()) for section in sections_in(report)[1:]]
    assert found == [((title_key(title),), body.strip()) for title, body in written]


def test_long_lines_of_blanks_take_no_time() -> None:
    for filler in (" ", "\t", "*", "#", "findings ", "findings and "):
        report = f"impression{filler * 20_000}x"
        assert "".join(section.heading + section.body for section in sections_in(report)) == report
