"""An archive finds what NumPy finds, in a folder and in Qdrant's local mode."""

import json
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest
from archive_world import DIM, FACTS, rows, unit

from mmkd.archive.archive import Added, Archive, Hit, add_vectors
from mmkd.archive.recall import exact_scores, picture_queries, tuned
from mmkd.archive.rows import as_array, vectors_column
from mmkd.errors import ConfigError, DataError
from mmkd.folders.locks import sole_owner

COUNT = 300
QUERY = unit(1, seed=9)[0]


@pytest.fixture(scope="module", params=["folder", "qdrant"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    place = tmp_path_factory.mktemp("search")
    made = Archive.create(*((place / "archive", FACTS) if request.param == "folder" else ("x", FACTS, str(place))))
    made.add(rows(COUNT))
    return made


def ranked(keep: np.ndarray, query_D: np.ndarray = QUERY) -> list[int]:
    """Rows that are kept, by their cosine, best first."""
    score_N = as_array(rows(COUNT)["vector"], DIM) @ query_D
    return [int(place) for place in np.argsort(-score_N) if keep[place]]


def ids(hits: list[Hit]) -> list[int]:
    return [int(hit.id.removeprefix("id")) for hit in hits]


def column(name: str) -> np.ndarray:
    return np.array(rows(COUNT)[name].to_pylist(), object)


def test_hits_are_the_nearest_rows_with_their_cosines(archive: Archive) -> None:
    hits = archive.search(3 * QUERY, 7)
    assert ids(hits) == ranked(np.ones(COUNT, bool))[:7]
    cosines = as_array(rows(COUNT)["vector"], DIM)[ids(hits)] @ QUERY
    np.testing.assert_allclose([hit.score for hit in hits], cosines, atol=1e-6)
    assert [hit.rank for hit in hits] == list(range(1, 8))
    assert hits[0].caption == column("caption")[ids(hits)[0]]


def test_conditions_and_patients_are_left_out_before_the_nearest_are_taken(archive: Archive) -> None:
    keep = (column("modality") == "ct") & (column("patient") != "p3")
    assert ids(archive.search(QUERY, 9, "modality = 'ct'", exclude_patient="p3")) == ranked(keep)[:9]


@pytest.mark.parametrize("by", ["series", "patient"])
@pytest.mark.parametrize("k", [5, 60])
def test_a_group_is_hit_by_its_best_picture(archive: Archive, by: str, k: int) -> None:
    expected, seen = [], set()
    for place in ranked(np.ones(COUNT, bool)):
        group = column(by)[place] or place  # without a series a picture counts for itself
        if group not in seen:
            seen.add(group)
            expected.append(place)
    assert ids(archive.search(QUERY, k, by=by)) == expected[:k]


def test_more_hits_than_rows_are_all_rows(archive: Archive) -> None:
    assert len(archive.search(QUERY, 1000)) == COUNT
    assert archive.search(QUERY, 5, "modality = 'none'") == []


def test_a_vector_of_another_model_is_refused(archive: Archive) -> None:
    for vector_D in (np.ones(DIM + 1), np.zeros(DIM), np.full(DIM, np.nan)):
        with pytest.raises(ConfigError, match=f"has vectors of {DIM} numbers of model colours"):
            archive.search(vector_D)
    with pytest.raises(ConfigError, match="by 'slice': it may be picture, series, patient"):
        archive.search(QUERY, by="slice")


@pytest.mark.parametrize("kind", ["folder", "qdrant"])
def test_rows_are_added_replaced_and_deleted_by_id(tmp_path: Path, kind: str) -> None:
    place, server = (str(tmp_path / "a"), "") if kind == "folder" else ("a", str(tmp_path / "q"))
    archive = Archive.create(place, FACTS, server)
    assert archive.add(rows(20)) == Added(new=20)
    assert archive.add(rows(20)) == Added(same=20)
    changed = pa.concat_tables([rows(5, seed=1, state="2"), rows(25).slice(20)])
    assert archive.add(changed) == Added(new=5, changed=5)
    reader = Archive.open(place, server)
    assert len(reader) == 25
    assert ids(reader.search(unit(5, seed=1)[3], 1)) == [3]
    assert archive.delete(["id00003", "id00003", "id00024"]) == 2
    assert sorted(reader.states()) == [f"id{n:05d}" for n in range(25) if n not in (3, 24)]
    with pytest.raises(DataError, match=r"1 of 2 ids are not in .* first 'id00024'; nothing was deleted"):
        archive.delete(["id00001", "id00024"])
    assert len(reader) == 23
    assert add_vectors(place, rows(30).rename_columns({"patient": "group"}), FACTS, server) == Added(7, 4, 19)


def test_an_archive_knows_its_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such archive; make one with `mmkd index"):
        Archive.open(tmp_path / "a")
    Archive.create(tmp_path / "a", FACTS)
    assert Archive.open(tmp_path / "a").facts == FACTS
    with pytest.raises(ConfigError, match=r"holds vectors of model colours .*; give --model colours, or make another"):
        Archive.create(tmp_path / "a", replace(FACTS, digest="d" * 64, name="other"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no archive"):
        Archive.open(tmp_path / "empty")
    (tmp_path / "empty/scan.dcm").write_bytes(b"")
    with pytest.raises(DataError, match="holds other files and no archive; choose a new folder"):
        Archive.create(tmp_path / "empty", FACTS)


def test_tables_that_are_no_rows_are_refused(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "a", FACTS)
    long = rows(3).set_column(8, "vector", vectors_column(2 * unit(3, 0)))
    for table, message in (
        (rows(3).drop_columns("id"), "id is not among its columns"),
        (pa.concat_tables([rows(2), rows(1)]), "ids of a table of vectors must be there and differ"),
        (long, "3 of 3 vectors are not of length 1, first 'id00000' of length 2; divide each"),
        (rows(3).set_column(8, "vector", vectors_column(unit(3, 0, dim=8))), "vectors of 8 numbers on average"),
    ):
        with pytest.raises(DataError, match=message):
            archive.add(table)
    assert len(archive) == 0


def test_one_writer_at_a_time_and_readers_go_on(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "a", FACTS)
    archive.add(rows(10))
    with sole_owner(tmp_path / "a"):
        with pytest.raises(ConfigError, match="another process is working on"):
            archive.add(rows(12))
        assert len(archive.search(QUERY, 20)) == 10
    with archive.writing():
        archive.add(rows(12))
    assert len(archive.search(QUERY, 20)) == 12


def test_threads_of_one_process_write_in_turn(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "a", FACTS)
    threads = [Thread(target=archive.add, args=(rows(80).slice(20 * n, 20),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(archive.states()) == rows(80)["id"].to_pylist()


@pytest.mark.slow
def test_the_index_is_as_thorough_as_its_measured_recall(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "a", FACTS)
    archive.add(rows(2000))
    assert archive.finish() == {"rows": 2000, "effort": None}
    vector_ND = as_array(rows(2000)["vector"], DIM)
    query_QD = picture_queries(archive.store)
    best_QK = -np.sort(-(query_QD @ vector_ND.T), axis=1)[:, :10]
    np.testing.assert_allclose(exact_scores(archive.store, query_QD), best_QK, atol=1e-5)
    archive.exact_rows = 1000
    notes = archive.finish(lambda texts: unit(len(texts), seed=4))
    assert json.loads((tmp_path / "a/index.json").read_text()) == notes
    assert notes["effort"] == archive.effort() >= tuned(archive.store, {"picture": query_QD}).effort
    assert set(notes["recall"]) == set(notes["low"]) == {"picture", "text"}
    assert notes["built"] == 2000
    found = [{hit.id for hit in archive.search(query_D)} for query_D in query_QD]
    true = [{hit.id for hit in archive.search(query_D, exact=True)} for query_D in query_QD]
    recall = np.mean([len(one & other) / 10 for one, other in zip(found, true, strict=True)])
    assert notes["recall"]["picture"] == pytest.approx(recall, abs=1e-9)
    assert min(notes["low"].values()) >= 0.99
    assert archive.finish(is_changed=False) == notes


def test_an_index_takes_in_new_rows_and_is_made_anew_for_many(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "a", FACTS)
    archive.exact_rows = 0
    archive.add(rows(1000))
    assert archive.finish()["built"] == 1000
    archive.add(rows(1200))
    notes = archive.finish()
    assert (notes["rows"], notes["built"]) == (1200, 1000)
    new_D = as_array(rows(1200)["vector"], DIM)[1150]
    assert ids(archive.search(new_D, 1)) == [1150]
    assert archive.store._table.index_stats("vector_idx").num_unindexed_rows == 0  # type: ignore[attr-defined]
    archive.add(rows(1400))
    assert archive.finish()["built"] == 1400


class Stepped:
    """A store of which each query finds as many of its ten exact hits as `found` says for its effort, at most ten."""

    unit, facts = "steps", FACTS

    def __init__(self, found: dict[int, int]) -> None:
        self.found, self.efforts, self.asked = found, tuple(found), list[int]()
        self.vector_ND = unit(50, seed=1)

    def scan(self, columns: tuple[str, ...]) -> list[pa.RecordBatch]:
        return pa.table({"vector": vectors_column(self.vector_ND)}).to_batches()

    def nearest(self, vector_D: np.ndarray, k: int, columns: object, where: object, effort: int) -> pa.Table:
        self.asked.append(effort)
        best_K = np.sort(self.vector_ND @ vector_D)[::-1][:k].astype(float)
        best_K[self.found[effort] :] = -1
        return pa.table({"score": best_K})


@pytest.mark.parametrize(
    ("found", "aim", "effort", "recall"),
    [
        ({1: 3, 2: 6, 4: 9, 8: 10, 16: 10}, 0.99, 8, 1.0),
        ({1: 3, 2: 6, 4: 9, 8: 10, 16: 10}, 0.9, 4, 0.9),
        ({1: 10, 2: 10, 4: 10}, 0.99, 1, 1.0),
        ({1: 2, 2: 4, 4: 7}, 0.99, 4, 0.7),
        ({5: 8}, 0.99, 5, 0.8),
    ],
)
def test_the_least_effort_that_reaches_the_aim_is_chosen(
    found: dict[int, int], aim: float, effort: int, recall: float
) -> None:
    store = Stepped(found)
    chosen = tuned(store, {"picture": unit(6, seed=2)}, aim)  # type: ignore[arg-type]
    assert chosen.effort == effort
    assert chosen.recall["picture"] == pytest.approx(recall)
    assert chosen.low["picture"] == pytest.approx(recall)  # no query differs from another
    assert len(store.asked) <= 6 * 3


def test_the_low_end_takes_the_spread_of_the_queries_into_account() -> None:
    store = Stepped({1: 9, 2: 10})
    query_QD = unit(5, seed=2)
    found = iter([10, 10, 10, 10, 5])

    def nearest(vector_D: np.ndarray, k: int, columns: object, where: object, effort: int) -> pa.Table:
        store.found[1] = next(found)
        return Stepped.nearest(store, vector_D, k, columns, where, effort)

    store.nearest = nearest  # type: ignore[method-assign]
    store.efforts = (1,)
    chosen = tuned(store, {"picture": query_QD})  # type: ignore[arg-type]
    assert chosen.recall["picture"] == pytest.approx(0.9)
    assert chosen.low["picture"] == pytest.approx(0.9 - 1.645 * 0.2 / 2)  # shares 1, 1, 1, 1, .5
