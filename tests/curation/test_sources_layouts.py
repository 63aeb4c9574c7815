"""Layouts of published collections that the table source serves without code of their own."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from corpus_samples import png, records, run, write_files

from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import TableSource
from mmkd.curation.sources.tables import TableReader


def read(path: Path, **options: object) -> list[object]:
    return list(
        records(
            TableReader(TableSource.model_validate({"kind": "table", "name": "t", "path": path, **options})).shards()
        )
    )


PMC = [
    {
        "image": "PMC1_fig1.jpg",
        "caption": "Axial CT of the liver.",
        "pmcid": "PMC1",
        "license": "CC BY",
        "inline": ["Figure 1 shows a lesion.", "See Figure 1."],
        "kinds": ["CT", "abdomen"],
    },
    {"image": "PMC1_fig2.jpg", "caption": "Histology.", "pmcid": "PMC1", "license": "CC BY", "inline": [], "kinds": []},
]
PMC_COLUMNS = {
    "group": "pmcid",
    "licence": "license",
    "mention": "inline",
    "labels": "kinds",
}


def test_figures_with_a_table_of_lines_keep_article_licence_and_mentions(tmp_path: Path) -> None:
    write_files(tmp_path, {row["image"]: png(n) for n, row in enumerate(PMC)})  # type: ignore[misc]
    (tmp_path / "figures.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PMC))
    source = {"kind": "table", "name": "pmc", "path": tmp_path / "figures.jsonl", "columns": PMC_COLUMNS}
    corpus = run(CurateSettings.model_validate({"sources": [source]}), tmp_path / "out")
    first, second = corpus.take([0, 1]).to_pylist()
    assert (first["group"], first["licence"], first["modality"]) == ("PMC1", "CC BY", "ct")
    assert first["labels"] == "CT; abdomen"
    assert first["caption_mention"] == "Figure 1 shows a lesion. See Figure 1."
    assert (second["labels"], second["caption_mention"]) == ("", "")
    assert first["split"] == second["split"]


def test_labels_and_mentions_are_taken_only_where_they_are_named(tmp_path: Path) -> None:
    write_files(tmp_path, {"0.png": png()})
    row = {"image": "0.png", "caption": "a finding", "labels": "CT", "mention": "as seen"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    (plain,) = read(tmp_path / "x.jsonl")
    (named,) = read(tmp_path / "x.jsonl", columns={"labels": "labels", "mention": "mention"})
    assert (plain.labels, plain.mention) == ((), "")  # type: ignore[attr-defined]
    assert (named.labels, named.mention) == (("CT",), "as seen")  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["name,caption\na.jpg,Chest X-ray.\nb.jpg,Brain MRI.\n"])
def test_radiology_tables_with_ids_for_files(tmp_path: Path, text: str) -> None:
    """As ROCO has them: a CSV whose column names the file in a folder beside it."""
    write_files(tmp_path, {"a.jpg": png(1), "b.jpg": png(2)})
    (tmp_path / "radiology.csv").write_text(text)
    found = read(tmp_path / "radiology.csv", columns={"image": "name", "id": "name", "group": "name"})
    assert [(record.id, record.caption) for record in found] == [("a.jpg", "Chest X-ray."), ("b.jpg", "Brain MRI.")]  # type: ignore[attr-defined]


def test_parquet_with_images_inside_and_lists_of_concepts(tmp_path: Path) -> None:
    """As ROCOv2 is published: bytes in the table, concepts as a list."""
    import pyarrow as pa

    rows = [{"image": {"bytes": png(1), "path": "1.jpg"}, "caption": "CT scan.", "cui": ["C0040405"], "image_id": "x1"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    (found,) = read(tmp_path / "train.parquet", columns={"id": "image_id", "labels": "cui"})
    assert (found.id, found.image, found.labels) == ("x1", png(1), ("C0040405",))  # type: ignore[attr-defined]
