"""With an index that looks at few rows, conditions and long lists find what an exact search finds."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from archive_world import FACTS, unit

from mmkd.archive import lance, plan
from mmkd.archive.archive import Archive
from mmkd.archive.lance import LanceStore
from mmkd.archive.plan import Plan, nearest, planned
from mmkd.archive.rows import vectors_column
from mmkd.archive.where import Compare, Condition

CLUSTERS, EACH = 40, 60
QUERIES = 20


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Rows in clusters: a patient each, and modalities of ten clusters each, so that no cluster has rows of two.
    It has an index with a partition for each 50 rows."""
    place = tmp_path_factory.mktemp("settled")
    centre_CD = unit(CLUSTERS, seed=1)
    vector_ND = np.repeat(centre_CD, EACH, axis=0) + 0.25 * unit(CLUSTERS * EACH, seed=2)
    made = Archive.create(place / "archive", FACTS)
    cluster_N = np.repeat(np.arange(CLUSTERS), EACH)
    made.add(
        pa.table(
            {
                "id": [f"id{place}" for place in range(len(cluster_N))],
                "patient": [f"p{cluster}" for cluster in cluster_N],
                "modality": [f"m{cluster % 4}" for cluster in cluster_N],
                "slice": pa.array(np.arange(len(cluster_N)) % EACH, pa.int32()),
                "vector": vectors_column(vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)),
            }
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lance, "PARTITION", 50)
        made.exact_rows = 0
        made.finish()
        yield made


def queries() -> np.ndarray:
    """Near the centre of a cluster each."""
    near_QD = unit(CLUSTERS, seed=1)[:QUERIES] + 0.2 * unit(QUERIES, seed=3)
    return near_QD / np.linalg.norm(near_QD, axis=1, keepdims=True)


def recall(archive: Archive, k: int = 10, where: str = "", own: bool = True) -> float:
    """Mean share of the exact hits. own: pictures of the query's cluster count, too."""
    shares = []
    for cluster, query_D in enumerate(queries()):
        excluded = "" if own else f"p{cluster}"
        asked = where.format(other=(cluster + 1) % 4)
        found, true = (
            {hit.id for hit in archive.search(query_D, k, asked, excluded, exact=exact)} for exact in (False, True)
        )
        shares.append(len(found & true) / len(true))
    return float(np.mean(shares))


def test_the_measured_effort_alone_misses_hits_of_a_condition(archive: Archive) -> None:
    """Else the other tests show nothing."""
    effort = archive.effort()
    assert effort is not None
    assert effort < archive.store.efforts[-1] / 4
    shares = []
    for cluster, query_D in enumerate(queries()):
        far = Compare("modality", "=", f"m{(cluster + 1) % 4}")
        found, true = (
            set(archive.store.nearest(query_D, 10, ("id",), far, e)["id"].to_pylist()) for e in (effort, None)
        )
        shares.append(len(found & true) / 10)
    assert np.mean(shares) < 0.98
    assert recall(archive) >= 0.98


def test_rows_that_lie_far_from_the_query_are_found(archive: Archive) -> None:
    assert recall(archive, where="modality = 'm{other}'") >= 0.99


@pytest.mark.parametrize("where", ["slice = 7", "slice < 2", "modality = 'm{other}' AND slice = 3", "patient = 'p39'"])
def test_conditions_that_few_rows_meet_find_all_of_them(archive: Archive, where: str) -> None:
    assert recall(archive, where=where) >= 0.99


def test_the_same_patient_is_left_out_and_others_are_found(archive: Archive) -> None:
    assert recall(archive, own=False) >= 0.99
    for cluster, query_D in enumerate(queries()):
        hits = archive.search(query_D, 10, exclude_patient=f"p{cluster}")
        assert len(hits) == 10
        assert f"p{cluster}" not in {hit.patient for hit in hits}


def test_a_patient_of_many_rows_is_left_out_by_the_condition(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    few = planned(archive.store, 3, None, "p4")
    assert (few.where, few.patient, few.spare) == (None, "p4", EACH)
    monkeypatch.setattr(plan, "SPARE", EACH - 1)
    many = planned(archive.store, 3, None, "p4")
    assert (many.where, many.spare) == (Compare("patient", "!=", "p4"), 0)
    assert recall(archive, own=False) >= 0.99
    monkeypatch.undo()
    assert planned(archive.store, None, None, "p4") == Plan(None, None, "p4", EACH)


def test_long_lists_and_groups_are_whole(archive: Archive) -> None:
    assert recall(archive, k=100) >= 0.99
    for query_D in queries()[:5]:
        found, true = (
            [hit.patient for hit in archive.search(query_D, 8, by="patient", exact=e)] for e in (False, True)
        )
        assert found == true


def test_the_last_effort_is_exact_up_to_the_rounding_of_the_index(archive: Archive) -> None:
    efforts = archive.store.efforts
    assert list(efforts) == sorted(set(efforts))
    assert efforts[0] == 1
    assert efforts[-1] >= CLUSTERS * EACH // 50
    for query_D in queries():
        found, true = (
            set(archive.store.nearest(query_D, 10, ("id",), None, e)["id"].to_pylist()) for e in (efforts[-1], None)
        )
        assert found == true


class Counted:
    """A store that notes at which efforts it is asked."""

    def __init__(self, store: LanceStore) -> None:
        self.store, self.asked = store, list[int | None]()
        self.efforts, self.few_rows, self.count = store.efforts, store.few_rows, store.count

    def nearest(
        self, vector_D: np.ndarray, k: int, columns: tuple[str, ...], where: Condition | None, effort: int | None
    ) -> pa.Table:
        self.asked.append(effort)
        return self.store.nearest(vector_D, k, columns, where, effort)


@pytest.mark.parametrize(
    ("where", "first", "most_searches"),
    [
        (None, 3, 1),  # TOP hits among all rows, as it was measured
        (Compare("modality", "=", "m0"), 12, 4),  # a fourth of the rows
        (Compare("slice", "=", 7), 60, 1),  # one in 60: all there are
    ],
)
def test_effort_follows_the_share_of_the_rows(
    archive: Archive, where: Condition | None, first: int, most_searches: int
) -> None:
    counted = Counted(archive.store)  # type: ignore[arg-type]
    asked = planned(counted, 3, where, "")  # type: ignore[arg-type]
    nearest(counted, queries()[0], 10, ("id",), asked)  # type: ignore[arg-type]
    assert counted.asked[0] == first
    assert len(counted.asked) <= most_searches


def test_a_backend_that_is_faster_without_its_index_for_few_rows_does_without(archive: Archive) -> None:
    counted = Counted(archive.store)  # type: ignore[arg-type]
    counted.few_rows = 100
    assert planned(counted, 3, Compare("slice", "=", 7), "").effort is None  # type: ignore[arg-type]
    assert planned(counted, 3, Compare("modality", "=", "m0"), "").effort == 12  # type: ignore[arg-type]
