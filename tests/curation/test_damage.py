"""One archive with everything that can be wrong: each record is counted and listed, the good ones arrive."""

import json
import subprocess
import sys
import tarfile
import zlib
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from corpus_samples import encoded, noise, png, run, write_files, write_tar

from mmkd.curation.settings.curate import CurateSettings

LONG_BYTES = 200 * 2**20


def bomb() -> bytes:
    """A PNG of a hundred bytes that claims 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (100_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


class Zeros:
    """Blanks to any length, without holding them."""

    def read(self, size: int) -> bytes:
        return b" " * size


def long_captioned(path: Path) -> None:
    with tarfile.open(path, "a") as tar:
        header = tarfile.TarInfo("long.txt")
        header.size = LONG_BYTES
        tar.addfile(header, Zeros())  # type: ignore[arg-type]


def sample(name: str, image: bytes | None = None, caption: str | None = None) -> list[tuple[str, bytes]]:
    found = png(sum(name.encode())) if image is None else image
    return [(f"{name}.png", found), (f"{name}.txt", (caption or f"finding {name}").encode())]


def test_whatever_is_wrong_is_counted_and_listed_and_survived(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    whole = write_tar(folder / "cut.tar", sample("c") + sample("lost")).read_bytes()
    (folder / "cut.tar").write_bytes(whole[: whole.index(b"lost.txt")])
    write_files(folder, {"garbage.tar": b"no tar at all"})
    members = [
        *sample("good"),
        *sample("../up"),
        *sample("bomb", bomb()),
        *sample("json"),
        ("json.json", b'{"caption": '),
        *sample("half", encoded(noise(5, 64, 64))[:-300]),
        *sample("empty", caption="<p></p>"),
        ("only.png", png(1)),
        *sample("bytes", caption="x"),
        *sample("long")[:1],
    ]
    write_tar(folder / "mixed.tar", members)
    long_captioned(folder / "mixed.tar")
    rows = [
        {"image": "0.png", "caption": "a good row"},
        {"image": "../0.png", "caption": "outside"},
        {"image": "gone.png", "caption": "a missing image"},
        {"image": "0.png", "caption": "w " * 6000},
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"image": \n[1]\n')
    write_files(folder, {"0.png": png(90)})
    settings = CurateSettings.model_validate(
        {
            "sources": [
                {"kind": "webdataset", "name": "w", "path": folder},
                {"kind": "table", "name": "t", "path": folder / "rows.jsonl"},
            ],
            "max_rejected": 0.95,
        }
    )
    corpus = run(settings, tmp_path / "out")
    assert corpus.column("id") == ["w/cut/c", "w/mixed/good", "t_00000000"]
    listed = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    assert {(row["where"], row["reason"]) for row in listed} == {
        ("cut.tar", "damaged_file"),
        ("garbage.tar", "damaged_file"),
        ("mixed.tar:../up", "outside_folder"),
        ("mixed.tar:bomb", "decompression_bomb"),
        ("mixed.tar:json", "unreadable_row"),
        ("mixed.tar:half", "truncated_image"),
        ("mixed.tar:empty", "empty_caption"),
        ("mixed.tar:only", "missing_field"),
        ("mixed.tar:bytes", "short_caption"),
        ("mixed.tar:long", "long_caption"),
        ("rows.jsonl:1", "outside_folder"),
        ("rows.jsonl:2", "missing_file"),
        ("rows.jsonl:3", "long_caption"),
        ("rows.jsonl:4", "unreadable_row"),
        ("rows.jsonl:5", "unreadable_row"),
    }
    funnel = json.loads((tmp_path / "out/funnel.json").read_text())
    assert funnel["total"]["read"] == len(listed) + len(corpus)
    assert sum((Counter(source["rejected"]) for source in funnel["sources"].values()), Counter()).total() == len(listed)


RUN = """
import sys
from pathlib import Path
import datasets  # before the first look, so that what it takes is not counted
from mmkd.curation.curate import curate
from mmkd.curation.settings.curate import CurateSettings
from mmkd.settings import Machine

def peak_kb():  # ru_maxrss would be the peak of the process that started this one, where that is higher
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])

settings = CurateSettings.model_validate_json(sys.argv[1])
before = peak_kb()
curate(settings, Path(sys.argv[2]), Machine(workers=0), 7)
print(peak_kb() - before)
"""


def grown_bytes(source: dict[str, str], out: Path) -> int:
    """What curating adds to the peak memory of a process of its own: this one's may be that of another test."""
    settings = CurateSettings.model_validate({"sources": [source]})
    out.mkdir()
    command = [sys.executable, "-c", RUN, settings.model_dump_json(), str(out)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]) * 1024


def test_a_caption_of_200_mb_is_never_in_memory(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [*sample("good"), *sample("long")[:1]])
    long_captioned(tmp_path / "a.tar")
    source = {"kind": "webdataset", "name": "w", "path": str(tmp_path / "a.tar")}
    assert grown_bytes(source, tmp_path / "out") < LONG_BYTES / 2
    (long,) = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    assert (long["where"], long["reason"]) == ("a.tar:long", "long_caption")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "good", "begin", "end"),
    [
        ("t.jsonl", '{"image": "0.png", "caption": "good"}\n', '{"image": "0.png", "caption": "', '"}\n'),
        ("t.csv", "image,caption\n0.png,good\n", "0.png,", "\n"),
    ],
    ids=["jsonl", "csv"],
)
def test_nor_is_one_in_a_table(tmp_path: Path, name: str, good: str, begin: str, end: str) -> None:
    write_files(tmp_path, {"0.png": png(90)})
    with (tmp_path / name).open("w") as stream:
        stream.write(good + begin)
        for _ in range(LONG_BYTES // 2**20):
            stream.write("x" * 2**20)
        stream.write(end)
    source = {"kind": "table", "name": "t", "path": str(tmp_path / name)}
    assert grown_bytes(source, tmp_path / "out") < LONG_BYTES / 2
    (long,) = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    assert (long["where"], long["reason"]) == (f"{name}:1", "long_caption")
