"""Sources by URL give the corpus that the same files on disk give, to the byte."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_samples import HERE, many, png, reasons, write_files, write_tar
from http_files import Faults, http_files
from typer.testing import CliRunner, Result

from mmkd.cli import app
from mmkd.commands.from_url import recipe_of
from mmkd.curation.curate import corpus_stage, curate
from mmkd.curation.settings.curate import CurateSettings
from mmkd.errors import ConfigError, DataError, MmkdError
from mmkd.folders import remote
from mmkd.folders.stage import complete


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BACKOFF_S", 0.001)
    monkeypatch.setattr(remote, "FIRST_BYTES", 1000)  # so that small files come in many blocks


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Tars, one of them cut off; Parquet with images inside in two row groups; a table of images beside it."""
    home = tmp_path / "archive"
    for tar in range(2):
        members = [(f"{n}.{kind}", body) for n in range(3) for kind, body in _pair(f"{tar}{n}", 10 * tar + n)]
        write_tar(_in(home / f"tars/{tar}.tar"), members)
    whole = (home / "tars/1.tar").read_bytes()
    (home / "tars/1.tar").write_bytes(whole[: whole.index(b"2.txt") + 512])
    rows = [{"image": png(30 + n), "caption": f"in a row {n}"} for n in range(4)]
    pq.write_table(pa.Table.from_pylist(rows), _in(home / "rows/part-0.parquet"), row_group_size=2)
    many(home / "beside", 3)
    write_files(home / "beside", {"pairs.csv": b"image,caption\n0.png,first\n1.png,second\nnowhere.png,third\n"})
    return home


def _pair(name: str, seed: int) -> list[tuple[str, bytes]]:
    return [("png", png(seed)), ("txt", f"finding {name}".encode())]


def _in(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def sources(home: str, pattern: str = "") -> CurateSettings:
    found = [
        {"kind": "webdataset", "name": "tars", "path": f"{home}/tars{pattern}"},
        {"kind": "table", "name": "rows", "path": f"{home}/rows/part-0.parquet"},
        {"kind": "table", "name": "lines", "path": f"{home}/beside/pairs.jsonl"},
        {"kind": "table", "name": "csv", "path": f"{home}/beside/pairs.csv"},
    ]
    return CurateSettings.model_validate({"sources": found})


def digest(settings: CurateSettings, folder: Path) -> str:
    stage = corpus_stage(folder, settings, settings.model_dump(mode="json"), 7)
    return str(complete(stage, lambda partial: curate(settings, partial, HERE, 7))["digest"])


@pytest.mark.slow
def test_http(archive: Path, tmp_path: Path) -> None:
    faults = Faults(busy=3, cut=5)
    here = digest(sources(str(archive)), tmp_path / "here")
    with http_files(archive, faults) as url:
        assert digest(sources(url, "/*.tar"), tmp_path / "there") == here
    assert not faults.busy
    assert not faults.cut


@pytest.mark.slow
def test_s3(archive: Path, tmp_path: Path, s3: str) -> None:
    fsspec.filesystem("s3").put(f"{archive}/", f"{s3}/archive/", recursive=True)
    here = digest(sources(str(archive)), tmp_path / "here")
    assert digest(sources(f"{s3}/archive"), tmp_path / "there") == here


def test_the_hub_by_a_fake_of_its_file_system(archive: Path, tmp_path: Path, hub: None) -> None:
    fsspec.filesystem("hf").put(f"{archive}/", "datasets/BIOMEDICA/pairs/", recursive=True)
    here = digest(sources(str(archive)), tmp_path / "here")
    assert digest(sources("hf://datasets/BIOMEDICA/pairs"), tmp_path / "there") == here


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket of moto's server; where it is, and the keys, are in the environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """hf:// in memory, with the details that the hub's file system gives."""
    from fsspec.implementations.memory import MemoryFileSystem

    class Hub(MemoryFileSystem):  # type: ignore[misc]
        protocol = "hf"
        store: dict[str, object] = {}
        pseudo_dirs = [""]

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return super()._strip_protocol(path.removeprefix("hf://"))

        def unstrip_protocol(self, name: str) -> str:
            return f"hf://{name.removeprefix('/')}"

        def info(self, path: str, **_: object) -> dict[str, object]:
            found = super().info(path)
            return found | {"blob_id": str(hash(self.cat(path)))} if found["type"] == "file" else found

    fsspec.register_implementation("hf", Hub, clobber=True)
    yield
    fsspec.register_implementation("hf", "huggingface_hub.HfFileSystem", clobber=True)


def test_a_change_in_the_middle_stops_the_run_and_is_no_rejection(archive: Path, tmp_path: Path) -> None:
    settings = {"sources": [{"kind": "webdataset", "path": "URL/tars/0.tar"}]}
    with http_files(archive, Faults(changes_after=3)) as url:
        changed = CurateSettings.model_validate_json(json.dumps(settings).replace("URL", url))
        with pytest.raises(DataError, match="changed while it was read"):
            digest(changed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_goes_on_from_its_finished_shards(archive: Path, tmp_path: Path) -> None:
    settings = {"sources": [{"kind": "webdataset", "name": "t", "path": "URL/tars/*.tar"}]}
    faults = Faults()
    (archive / "tars/2.tar").write_bytes((archive / "tars/0.tar").read_bytes())
    with http_files(archive, faults) as url:
        these = CurateSettings.model_validate_json(json.dumps(settings).replace("URL", url))
        monkey = pytest.MonkeyPatch()
        monkey.setattr(remote, "ATTEMPTS", 1)
        faults.cut_paths = {"/tars/2.tar"}
        with pytest.raises(DataError, match="given up at once"):
            digest(these, tmp_path / "out")
        monkey.undo()
        read = faults.asked["GET /tars/0.tar"]
        faults.cut_paths = set()
        digest(these, tmp_path / "out")
        assert faults.asked["GET /tars/0.tar"] == read
    assert faults.asked["GET /tars/2.tar"] > 1


def test_no_secret_is_written_down(archive: Path, tmp_path: Path) -> None:
    with http_files(archive) as url:
        secret = f"{url.replace('//', '//me:hunter2@')}/tars/0.tar?sig=hunter2"
        settings = CurateSettings.model_validate({"sources": [{"kind": "webdataset", "path": secret}]})
        digest(settings, tmp_path / "out")
        missing = CurateSettings.model_validate(
            {"sources": [{"kind": "webdataset", "path": secret.replace("0.tar", "9.tar")}]}
        )
        with pytest.raises(DataError, match="no such file") as refused:
            digest(missing, tmp_path / "other")
    written = [path for path in tmp_path.glob("out/**/*") if path.is_file()]
    assert len(written) > 3
    assert not [path for path in written if b"hunter2" in path.read_bytes()]
    assert "hunter2" not in str(refused.value)


def test_images_of_a_remote_table_stay_in_its_folder(archive: Path) -> None:
    from mmkd.curation.settings.sources import TableSource
    from mmkd.curation.sources.tables import TableReader

    lines = "".join(
        json.dumps({"image": name, "caption": "c"}) + "\n" for name in ("../rows/x.png", "/etc/x.png", "no.png")
    )
    (archive / "beside/bad.jsonl").write_text(lines)
    with http_files(archive) as url:
        source = TableSource(kind="table", name="t", path=f"{url}/beside/bad.jsonl")
        assert [reason for _, reason in reasons(TableReader(source).shards())] == [
            "outside_folder",
            "outside_folder",
            "missing_file",
        ]
        on_disk = source.model_copy(update={"root": archive / "beside"})
        (archive / "beside/bad.jsonl").write_text('{"image": "0.png", "caption": "c"}\n')
        assert not reasons(TableReader(on_disk).shards())


def curated(*arguments: object) -> Result:
    """In this process alone, which has the fake of the hub."""
    given = ["curate", *map(str, arguments), "--set", "machine.workers=0"]
    return CliRunner().invoke(app, given, catch_exceptions=False)


@pytest.mark.parametrize(("place", "kind", "rows"), [("tars", "webdataset", 5), ("rows/part-0.parquet", "table", 4)])
def test_a_url_is_curated_without_a_recipe(
    archive: Path, tmp_path: Path, hub: None, place: str, kind: str, rows: int
) -> None:
    fsspec.filesystem("hf").put(f"{archive}/", "datasets/BIOMEDICA/pairs/", recursive=True)
    url, out = f"hf://datasets/BIOMEDICA/pairs/{place}", tmp_path / "run"
    done = curated(url, "--out", out)
    assert done.exit_code == 0, done.output
    (recipe,) = (path for path in out.glob("*.toml") if "held-out" not in path.name)
    assert f"recipe: {recipe}, written for a source of the kind {kind}" in done.output
    assert tomllib.loads(recipe.read_text())["curate"]["sources"] == [{"kind": kind, "path": url}]
    assert json.loads((out / "corpus/funnel.json").read_text())["total"]["kept"] == rows
    before = (out / "corpus/manifest.json").read_bytes()
    again = curated(url, "--out", out)
    assert again.exit_code == 0, again.output
    assert f"{recipe}, which is there already" in again.output
    assert (out / "corpus/manifest.json").read_bytes() == before


def test_a_recipe_for_a_url_is_only_written_where_its_kind_is_known(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Path("runs/tars/tars.toml")
    with http_files(archive) as url:
        for wrong, why in {
            url: "found 2 tars and 2 tables, expected one of the two",
            f"{url}/nothing": "cannot be read|no file ending in .tar",
            f"{url}/tars?sig=hunter2": "may be secret and is not written into a recipe",
        }.items():
            with pytest.raises(MmkdError, match=why) as refused:
                recipe_of(wrong, None)
            assert "hunter2" not in str(refused.value)
        assert not Path("runs").exists()
        assert recipe_of(f"{url}/tars/", None) == recipe
        assert tomllib.loads(recipe.read_text())["curate"]["sources"] == [
            {"kind": "webdataset", "path": f"{url}/tars/"}
        ]
        with pytest.raises(ConfigError, match="does not read"):
            recipe_of(f"{url}/rows/tars", None)


@pytest.mark.parametrize("kind", ["folders", "npz", "reference", "dicom", "nifti", "datasets"])
def test_urls_of_other_kinds_are_refused_with_a_cure(kind: str) -> None:
    source = {"kind": kind, "path": "https://example.org/a", **({"classes": ["a"]} if kind == "npz" else {})}
    with pytest.raises(ValueError, match="kinds table and webdataset only; download what it names"):
        CurateSettings.model_validate({"sources": [source]})


def test_a_hub_that_is_not_reached_is_no_damaged_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file system asks the server while it forgets what it knew, too."""
    from fsspec.implementations.memory import MemoryFileSystem

    def unreachable(*_: object) -> None:
        raise ConnectionError("offline")

    fsspec.filesystem("memory").pipe("/far/0.tar", b"")
    monkeypatch.setattr(MemoryFileSystem, "invalidate_cache", unreachable)
    with pytest.raises(DataError, match=r"memory://far/0.tar: cannot be read .*offline; given up after 6 attempts"):
        remote.RemoteFile("memory://far/0.tar", 0, "").check()
