"""The ledger counts what a plain loop over the rows counts, and accounts for every record."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_samples import many, png, run, settings_for, table, write_files
from hypothesis import given
from hypothesis import strategies as st

from mmkd.corpus.schema import Corpus
from mmkd.curation.ledger.funnel import Funnel, funnel_of
from mmkd.curation.ledger.rows import ROWS, corpus_batches, rejected_batches, shards_of, write_curation
from mmkd.curation.ledger.statistics import NO_EVIDENCE, Agreement, agreements, corpus_statistics, is_conflict
from mmkd.curation.ledger.steps import KEPT, STEPS, step_of
from mmkd.curation.ledger.tally import Repeats, binned, most_common, quantile, repeats, summary
from mmkd.errors import DataError
from mmkd.folders.arrow import write_shard

counts = st.dictionaries(st.integers(0, 500), st.integers(1, 50), min_size=1)


@given(counts, st.floats(0, 1))
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(found: dict[int, int], share: float) -> None:
    values = np.sort(np.repeat(list(found), list(found.values())))
    below = np.searchsorted(values, values, side="right")
    reached = values[(below >= share * len(values))]
    assert quantile(found, share) == reached.min()


def test_the_summary_is_worked_by_hand() -> None:
    told = summary({10: 1, 20: 1, 30: 2})
    assert told == {"min": 10, "p05": 10, "p25": 10, "median": 20, "p75": 30, "p95": 30, "max": 30, "mean": 22.5}
    assert summary({}) == {}
    with pytest.raises(ValueError, match="no values"):
        quantile({}, 0.5)


@given(counts, st.integers(1, 40))
def test_bins_hold_every_value_once(found: dict[int, int], bins: int) -> None:
    edges, sums = binned(found, bins)
    values = np.repeat(list(found), list(found.values()))
    inside = [int(((values >= low) & (values < high)).sum()) for low, high in pairwise(edges)]
    assert sums == inside
    assert sum(sums) == len(values)
    assert len(sums) <= bins + 1


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(1, 9))
def test_repeats_do_not_depend_on_the_batches(values: list[int], size: int) -> None:
    times = Counter(values)
    more = [n for n in times.values() if n > 1]
    batches = [np.array(values[i : i + size], np.uint64) for i in range(0, len(values), size)]
    assert repeats(batches) == Repeats(len(times), len(more), sum(more), max(times.values(), default=0))


def test_the_frequent_come_first_and_equal_ones_by_name() -> None:
    assert list(most_common(Counter({"b": 2, "a": 2, "c": 5}))) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("evidence", "conflict"), [("label+caption", False), ("label+!caption", True), ("!source", True), ("", False)]
)
def test_a_mark_means_a_conflict(evidence: str, conflict: bool) -> None:
    assert is_conflict(evidence) == conflict


def test_agreement_is_worked_by_hand() -> None:
    told = Counter({"label+caption": 6, "label+!caption": 2, "caption": 1, "!label+!caption": 1, NO_EVIDENCE: 9})
    assert agreements(told) == {
        "caption": Agreement(10, 7),
        "label": Agreement(9, 8),
        "caption and label": Agreement(9, 6),
    }


def test_what_curation_does_not_know_left_at_the_filters() -> None:
    assert step_of("near_white") == "filters"
    named = [reason for reasons in STEPS.values() for reason in reasons]
    assert len(named) == len(set(named))
    assert {step_of(reason) for reason in named} == set(STEPS)


def mixed(folder: Path) -> Path:
    """Eight pairs of two modalities, one caption three times, one image twice, and three records that are no pairs."""
    rows = [
        {"id": f"r{i}", "image": f"{i % 7}.png", "caption": f"finding number {i}", "group": f"g{i % 4}",
         "modality": "ct" if i % 2 else "mri", "licence": "CC0" if i else "CC BY"}
        for i in range(8)
    ]  # fmt: skip
    rows[2]["caption"] = rows[4]["caption"] = rows[6]["caption"] = "the same words"
    rows += [
        {"id": "gone", "image": "none.png", "caption": "a picture"},
        {"id": "mute", "image": "0.png", "caption": ""},
    ]
    rows += [{**rows[1], "id": "again"}]
    return table(folder, rows, {f"{i}.png": png(i, 20 + i, 40) for i in range(7)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus of three small shards, made by curation."""
    return run(settings_for(mixed(tmp_path), shard_rows=3, val=0.5), tmp_path / "out").folder


def test_facts_agree_with_the_rows(folder: Path) -> None:
    facts, corpus = corpus_statistics(folder), Corpus(folder)
    assert facts.pairs == len(corpus) == 8
    for name in ("split", "modality", "source", "licence"):
        assert facts.by[name] == Counter(corpus.column(name))
    assert facts.modality_source == {("mri", "t"): 4, ("ct", "t"): 4}
    assert facts.numbers["characters"] == Counter(map(len, corpus.column("caption")))
    assert facts.numbers["words"] == {3: 8}
    assert facts.numbers["height"] == {20: 2, **{20 + i: 1 for i in range(1, 7)}}
    assert facts.repeats["captions"] == Repeats(6, 1, 3, 3)
    assert facts.repeats["images"] == Repeats(7, 1, 2, 2)
    assert facts.repeats["groups"] == Repeats(4, 4, 8, 2)
    told = facts.to_json()
    assert told["words"]["median"] == 3
    assert told["repeats"]["captions"] == {"distinct": 6, "repeated": 1, "rows": 3, "largest": 3}


def test_every_record_is_accounted_for(folder: Path) -> None:
    assert write_curation(folder) == 11
    rows = pq.read_table(folder / "curation.parquet").to_pylist()
    assert [row["id"] for row in rows[:8]] == Corpus(folder).column("id")
    assert {row["step"] for row in rows[:8]} == {KEPT}
    assert [(row["id"], row["step"], row["reason"]) for row in rows[8:]] == [
        ("gone", "source", "missing_file"),
        ("mute", "caption", "empty_caption"),
        ("again", "duplicates", "duplicate_pair"),
    ]
    funnel = funnel_of(folder, corpus_statistics(folder).by["source"])
    assert funnel.read == 11
    assert [(step, gone.total(), left) for step, gone, left in funnel.steps()] == [
        ("source", 1, 10),
        ("caption", 1, 9),
        ("metadata", 0, 9),
        ("image", 0, 9),
        ("filters", 0, 9),
        ("decontamination", 0, 9),
        ("duplicates", 1, 8),
    ]


def test_the_ledger_is_the_same_after_it_was_written_again(folder: Path) -> None:
    write_curation(folder)
    first = (folder / "curation.parquet").read_bytes()
    write_curation(folder)
    assert (folder / "curation.parquet").read_bytes() == first


def old_corpus(folder: Path) -> Path:
    """A corpus as it was written before there were columns for evidence, language and panels."""
    names = ("id", "caption", "group", "sha256", "modality", "source", "licence", "split")
    columns = {name: [f"{name} {i}" for i in range(3)] for name in names}
    columns["sha256"] = ["00" * 32, "01" * 32, "01" * 32]
    table_ = pa.table({**columns, "width": pa.array([4, 5, 6], pa.int32()), "height": pa.array([7, 8, 9], pa.int32())})
    write_files(folder, {})
    folder.mkdir(exist_ok=True)
    write_shard(folder / "data-00000-of-00001.arrow", table_.schema, [table_])
    return folder


def test_old_corpora_are_counted_with_neutral_values(tmp_path: Path) -> None:
    facts = corpus_statistics(old_corpus(tmp_path / "old"))
    assert facts.by["language"] == {"not known": 3}
    assert facts.evidence == {"none recorded": 3}
    assert agreements(facts.evidence) == {}
    assert not facts.numbers["confidence"]
    assert facts.repeats["captions"].distinct == 3
    assert list(rejected_batches(tmp_path / "old")) == []
    assert write_curation(tmp_path / "old") == 3


def test_what_is_no_corpus_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data-\*.arrow found"):
        shards_of(tmp_path)
    with pytest.raises(DataError, match="no column colour"):
        list(corpus_batches(old_corpus(tmp_path), ["id", "colour"]))


def test_a_batch_is_small_whatever_the_shard(tmp_path: Path) -> None:
    ids = pa.table({name: [str(i) for i in range(3 * ROWS)] for name in ("id", "caption")})
    write_shard(tmp_path / "data-00000-of-00001.arrow", ids.schema, [ids])
    sizes = [batch.num_rows for batch in corpus_batches(tmp_path, ["id", "language"])]
    assert sum(sizes) == 3 * ROWS
    assert max(sizes) <= ROWS


def test_an_empty_funnel_has_all_steps() -> None:
    assert [left for _, _, left in Funnel(Counter(), Counter({"a": 3})).steps()] == [3] * len(STEPS)


def test_many_pairs_are_counted(tmp_path: Path) -> None:
    corpus = run(settings_for(many(tmp_path, 12), shard_rows=5), tmp_path / "out")
    assert corpus_statistics(corpus.folder).repeats["groups"] == Repeats(3, 3, 12, 4)
