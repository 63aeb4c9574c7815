"""BIOMEDICA's JSON of a figure: whatever it holds, the facts are text or the record is rejected."""

import json
from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.curation.sources.biomedica import LABELS, META_FIELDS, figure_facts, parse_meta
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import matches

KEYS = (
    *{key for keys in META_FIELDS.values() for key in keys},
    *LABELS,
    "image_cluster_id",
    "image_context",
    "image_set",
)
TEXT = st.text(st.characters(exclude_categories=()), max_size=6)  # lone surrogates too, which JSON can spell
WHOLE = {
    "image_cluster_id": "F2",
    "image_context": {"F1": ["of another"], "F2": ["Seen in F2.", "Again F2."]},
    "image_set": [{"image_id": "F1", "caption": "another"}, {"image_id": "F2", "caption": "A lung."}],
    "image_primary_label": ["Clinical"],
    "image_secondary_label": "CT",
    "article_accession_id": "PMC7",
}


def values(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    figures = st.fixed_dictionaries({}, optional={"image_id": inner, "caption": inner})
    return st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3) | st.lists(figures, max_size=3)


VALUE = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | TEXT, values, max_leaves=6)


def test_the_facts_of_a_whole_record() -> None:
    facts = figure_facts(parse_meta(json.dumps(WHOLE).encode()))
    assert astuple(facts) == (("A lung.",), "", "PMC7", "", ("CT", "Clinical"), "Seen in F2. Again F2.")


@given(st.dictionaries(st.sampled_from(KEYS), VALUE))
def test_any_json_gives_text_or_is_rejected(changed: dict[str, Any]) -> None:
    try:
        facts = figure_facts(parse_meta(json.dumps(WHOLE | changed).encode()))
    except BadRecordError as bad:
        facts, rejected = None, bad.reason
    if facts is None:
        assert rejected in (Reason.NOT_UTF8, Reason.UNREADABLE_ROW)
        return
    for found in (*facts.captions, facts.modality, facts.group, facts.licence, facts.mention, *facts.labels):
        assert isinstance(found, str)
        found.encode()


@pytest.mark.parametrize("cluster", [["F2"], {"a": "F2"}, [["F2"]]])
def test_an_id_that_is_no_text_names_no_figure(cluster: object) -> None:
    facts = figure_facts(WHOLE | {"image_cluster_id": cluster})
    assert (facts.captions, facts.mention, facts.group) == ((), "", "PMC7")


@pytest.mark.parametrize("key", ["article_accession_id", "article_license", "modality"])
def test_what_is_nested_is_no_text(key: str) -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(BadRecordError, match="a list found, expected text"):
        figure_facts(WHOLE | {key: deep})


def test_a_list_of_captions_is_a_choice() -> None:
    listed = WHOLE | {"caption": ["Frontal chest film", "No effusion"]}
    with pytest.raises(BadRecordError, match='a list of 2 texts, expected one; set captions = "first" or "all"'):
        figure_facts(listed)
    assert figure_facts(listed, "first").captions == ("Frontal chest film",)
    assert figure_facts(listed, "all").captions == ("Frontal chest film", "No effusion")
    assert figure_facts(WHOLE | {"caption": []}).captions == ("A lung.",)
    for wrong in ({"en": "Frontal chest film"}, 7, ["a", 7], [["a"]]):
        with pytest.raises(BadRecordError, match=r"the caption is .*, expected text"):
            figure_facts(WHOLE | {"caption": wrong}, "all")


def test_what_is_nested_too_deeply_is_not_what_anybody_accepts() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert not matches({"kind": deep}, {"kind": ["[]"]})
