"""The ledger as a page: whole in itself, escaped, the same for equal corpora, and of old corpora too."""

import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_samples import encoded, noise, png, run, settings_for, table
from PIL import Image

from mmkd.corpus.schema import Corpus
from mmkd.curation.ledger.examples import SIDE_PX, kept_examples, rows_of, thumbnail
from mmkd.curation.rejected_examples import _first_of_each, rejected_examples
from mmkd.report.curation import EACH_REJECT, PAGE, shown_of, write_ledger
from mmkd.report.curves import funnel_plot, span_text, spread_plot
from mmkd.report.render import cut, share


def corpus_with(folder: Path, captions: list[str], **options: object) -> Corpus:
    rows = [
        {
            "id": f"r{i}",
            "image": f"{i}.png",
            "caption": caption,
            "group": f"g{i // 2}",
            "modality": ("ct", "mri")[i % 2],
        }
        for i, caption in enumerate(captions)
    ]
    images = {f"{i}.png": png(i) for i in range(len(captions))}
    return run(settings_for(table(folder, rows, images), max_rejected=1.0, **options), folder / "out")


class Reader(HTMLParser):
    """Ids, text and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.scripts = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.scripts = tag in ("script", "style")
        self.ids += [given["id"]] if given.get("id") else []
        self.fetched += [value for name in ("src", "href") if (value := given.get(name)) and value[0] != "#"]

    def handle_data(self, data: str) -> None:
        if not self.scripts:
            self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_the_page_is_whole_in_itself_and_escapes_what_people_wrote(tmp_path: Path) -> None:
    corpus = corpus_with(
        tmp_path, ["a cyst of < 3 cm & more", "<script>alert(1)</script> a scan", "ab", "no"], min_caption=3
    )
    write_ledger(corpus.folder, "tiny <set>")
    reader = read((corpus.folder / PAGE).read_text())
    assert all(address.startswith("data:") for address in reader.fetched)
    assert len(reader.ids) == len(set(reader.ids))
    text = " ".join(reader.words)
    assert "a cyst of < 3 cm & more" in text
    assert "Curation: tiny <set>" in text
    assert "4 records were read and 2 kept (50.0%)" in text
    assert "alert(1)</script> a scan" in text
    assert "short caption 2" in text


def test_equal_corpora_make_equal_pages_and_the_digest_does_not_know_them(tmp_path: Path) -> None:
    pages = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        corpus = corpus_with(tmp_path / name, [f"finding {i}" for i in range(6)])
        write_ledger(corpus.folder, "same")
        pages.append((corpus.folder / PAGE).read_bytes())
        assert Corpus(corpus.folder).digest == corpus.digest
    assert pages[0] == pages[1]


def test_kept_examples_do_not_hang_on_the_order_of_the_rows(tmp_path: Path) -> None:
    drawn = []
    for name, order in (("a", range(12)), ("b", reversed(range(12)))):
        (tmp_path / name).mkdir()
        rows = [
            {"id": f"r{i}", "image": f"{i}.png", "caption": f"number {i}", "modality": ("ct", "mri")[i % 2]}
            for i in order
        ]
        corpus = run(
            settings_for(table(tmp_path / name, rows, {f"{i}.png": png(i) for i in range(12)}), shard_rows=5),
            tmp_path / name / "out",
        )
        drawn.append(kept_examples(corpus.folder))
    assert drawn[0] == drawn[1]
    assert [one.group for one in drawn[0]] == ["ct", "ct", "mri", "mri"]


def test_rows_come_in_the_order_they_are_asked_for(tmp_path: Path) -> None:
    corpus = corpus_with(tmp_path, [f"finding {i}" for i in range(9)], shard_rows=4)
    asked = [8, 0, 5, 3, 5]
    assert rows_of(corpus.folder, asked, ("id",)).column("id").to_pylist() == [f"r{i}" for i in asked]
    assert rows_of(corpus.folder, [], ("id",)).num_rows == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_thumbnail_is_a_small_jpeg(kind: str) -> None:
    small = Image.open(io.BytesIO(thumbnail(encoded(noise(1, 600, 300), kind))))
    assert (small.format, small.size) == ("JPEG", (SIDE_PX // 2, SIDE_PX))


@pytest.mark.parametrize("data", [b"", b"no picture", png(0)[:60]])
def test_what_is_no_picture_has_no_thumbnail(data: bytes) -> None:
    assert thumbnail(data) == b""


def test_rejected_examples_are_the_first_of_each_reason(tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", "image": f"{i % 2}.png", "caption": "a finding"} for i in range(6)]
    rows += [{"id": f"m{i}", "image": "0.png", "caption": "no"} for i in range(4)]
    rows += [{"id": "small", "image": "small.png", "caption": "a small picture"}]
    rows += [{"id": "gone", "image": "gone.png", "caption": "not there"}]
    rows += [{"id": "broken", "image": "broken.png", "caption": "not whole"}]
    images = {"0.png": png(0), "1.png": png(1), "small.png": png(2, 8, 8), "broken.png": png(3)[:80]}
    corpus = run(settings_for(table(tmp_path, rows, images), max_rejected=1.0), tmp_path / "out")
    found = rejected_examples(corpus.folder)
    assert [(one.group, one.id, one.caption) for one in found] == [
        ("duplicate_pair", "r2", "a finding"),
        ("duplicate_pair", "r3", "a finding"),
        ("short_caption", "m0", "no"),
        ("short_caption", "m1", "no"),
        ("tiny_image", "small", "a small picture"),
    ]
    assert [one.jpeg for one in found] == [
        thumbnail(images[n]) for n in ("0.png", "1.png", *["0.png"] * 2, "small.png")
    ]
    write_ledger(corpus.folder, "dropped")
    assert (corpus.folder / PAGE).read_text().count("✗ short caption") == 2
    assert rejected_examples(tmp_path) == []


def test_rejected_examples_are_found_in_whatever_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = ["one", "no", "two", "three", "one", "no", "four", "no", "two"]
    rows = [{"id": f"r{i}", "image": "0.png", "caption": caption} for i, caption in enumerate(captions)]
    path = table(tmp_path, rows, {"0.png": png(0)})
    whole = rejected_examples(run(settings_for(path, max_rejected=1.0), tmp_path / "whole").folder)
    monkeypatch.setattr("mmkd.tables.text.ROWS_PER_SHARD", 2)
    assert rejected_examples(run(settings_for(path, max_rejected=1.0), tmp_path / "cut").folder) == whole
    assert [one.id for one in whole] == ["r4", "r8", "r1", "r5"]


def test_rejects_are_cut_and_the_page_says_so(tmp_path: Path) -> None:
    corpus = corpus_with(tmp_path, ["a good caption", *["no"] * (EACH_REJECT + 5), "", "", "a good one"], min_caption=5)
    write_ledger(corpus.folder, "many")
    text = " ".join(read((corpus.folder / PAGE).read_text()).words)
    assert f"Record by record: of each reason the first {EACH_REJECT}, {EACH_REJECT + 2} of {EACH_REJECT + 7}" in text
    assert text.count("is shorter than 5") == EACH_REJECT
    assert text.count("nothing is left of") == 2


def test_evidence_is_told_where_it_is_recorded(tmp_path: Path) -> None:
    corpus = corpus_with(tmp_path, [f"finding {i}" for i in range(4)])
    shard = corpus.folder / "data-00000-of-00001.arrow"
    from mmkd.folders.arrow import read_shard, write_shard

    found = read_shard(shard)
    place = found.column_names.index("modality_evidence")
    told = pa.array(["label+caption", "label+!caption", "label", "label+caption"])
    write_shard(shard, found.schema, [found.set_column(place, "modality_evidence", told)])
    write_ledger(corpus.folder, "told")
    text = " ".join(read((corpus.folder / PAGE).read_text()).words)
    assert "1 records have evidence against their modality" in text
    assert re.search(r"caption and label\s+3\s+2\s+66\.7%", " ".join(text.split()))
    assert "Conflicts, record by record" in text


def test_the_funnel_has_a_bar_a_step() -> None:
    plot = funnel_plot({"read": 10, "caption": 7})
    assert [bar.x for bar in plot.bars] == [(0, 10), (0, 7)]
    assert [tick.text for tick in plot.y.ticks] == ["read", "caption"]


def test_the_last_bar_holds_what_lies_far_out() -> None:
    counts = Counter(np.random.default_rng(0).integers(0, 100, 5000).tolist()) + Counter({9000: 1})
    bars = spread_plot(counts, "words").bars
    assert sum(bar.y[1] for bar in bars) == 5001
    assert max(max(bar.x) for bar in bars) < 120
    assert "or more words" in bars[-1].says
    (single,) = spread_plot({7: 3}, "words").bars
    assert (single.y, single.says) == ((0, 3), "7 words: 3")


def test_records_are_counted_in_whole_numbers() -> None:
    assert [tick.text for tick in spread_plot({7: 3}, "words").y.ticks] == ["0", "1", "2", "3"]
    assert [tick.text for tick in funnel_plot({"read": 2, "caption": 0}).x.ticks] == ["0", "1", "2"]


def test_small_words() -> None:
    assert (span_text(3, 4), span_text(3, 6)) == ("3", "3 to 5")
    assert (share(1, 3), share(0, 0)) == ("33.3%", "–")
    assert (cut("a caption", 4), cut("word", 4)) == ("a c…", "word")
    assert (shown_of(3, 3), shown_of(3, 7)) == ("", "the first 3 of 7 rows")


@pytest.mark.parametrize(("reason", "shown"), [("tiny_image", True), ("burnt_in_text", False), ("missing_file", False)])
def test_a_picture_that_may_name_a_patient_is_never_shown(tmp_path: Path, reason: str, shown: bool) -> None:
    row = {"source": "s", "where": "s:0", "id": "r", "reason": reason, "detail": ""}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rejected.parquet")
    assert bool(_first_of_each(tmp_path, 1)) == shown


def test_unknown_is_no_modality(tmp_path: Path) -> None:
    rows = [
        {"id": f"r{i}", "image": f"{i}.png", "caption": f"Picture {i}", "group": f"g{i}", "modality": modality}
        for i, modality in enumerate(("ct", "ct", "mri", ""))
    ]
    source = table(tmp_path, rows, {f"{i}.png": png(i) for i in range(4)})
    write_ledger(run(settings_for(source, max_rejected=1.0), tmp_path / "out").folder, "mine")
    words = [word.strip() for word in read((tmp_path / "out" / PAGE).read_text()).words if word.strip()]
    start = words.index("modalities")
    assert words[start + 1 : start + 4] == ["2", "from 1 source", "and 1 pair of unknown modality"]


def test_the_page_calls_rejected_what_the_terminal_does(tmp_path: Path) -> None:
    corpus = corpus_with(tmp_path, ["CT of a cyst", ""])
    write_ledger(corpus.folder, "mine")
    words = read((corpus.folder / PAGE).read_text()).words
    assert "Rejected records" in words
    assert not any("xcluded records" in word for word in words)
