import random
from pathlib import Path

import pytest
from http_files import Faults, http_files
from hypothesis import given
from hypothesis import strategies as st

from mmkd.errors import ConfigError, DataError
from mmkd.folders import remote
from mmkd.folders.remote import Urls, fingerprint_of, opened, without_secrets

CONTENT = random.Random(0).randbytes(3 * 2**20 + 17)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BACKOFF_S", 0.001)
    monkeypatch.setattr(remote, "SILENCE_S", 0.2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.tar").write_bytes(CONTENT)
    (tmp_path / "sub/b.tar").write_bytes(b"b")
    (tmp_path / ".hidden.tar").write_bytes(b"x")
    (tmp_path / "readme.txt").write_bytes(b"x")
    return tmp_path


def read(url: str, suffixes: tuple[str, ...] = (".tar",)) -> bytes:
    ((_, file),) = Urls((url,)).files(suffixes)
    with opened(file) as stream:
        return stream.read()


@pytest.mark.parametrize("fault", ["none", "busy", "cut", "slow", "no etags"])
def test_a_file_is_read_whole_whatever_the_connection_does(folder: Path, fault: str) -> None:
    faults = {
        "none": Faults(),
        "busy": Faults(busy=3),
        "cut": Faults(cut=3),
        "slow": Faults(slow=2, silence_s=0.6),
        "no etags": Faults(etags=False),
    }[fault]
    with http_files(folder, faults) as url:
        if fault == "no etags":
            with pytest.raises(DataError, match="tells no size or date"):
                read(f"{url}/a.tar")
            return
        assert read(f"{url}/a.tar") == CONTENT
    assert faults.asked["GET /a.tar"] > 3


def test_a_cut_connection_costs_the_block_it_was_in(folder: Path) -> None:
    faults = Faults()
    with http_files(folder, faults) as url:
        ((_, file),) = Urls((f"{url}/a.tar",)).files((".tar",))
        with opened(file) as stream:
            begin = stream.read(2**20)
            faults.cut = 2
            assert begin + stream.read() == CONTENT
    assert faults.begins.count(0) == 1
    assert len(faults.begins) == len(set(faults.begins)) + 2


def test_places_anywhere(folder: Path) -> None:
    with http_files(folder) as url:
        ((_, file),) = Urls((f"{url}/a.tar",)).files((".tar",))
        with opened(file) as stream:
            for place in (2**21 + 5, 7, len(CONTENT) - 3, 2**18 - 1):
                assert stream.seek(place) == place
                assert stream.read(11) == CONTENT[place : place + 11]
            assert stream.seek(-4, 2) == len(CONTENT) - 4
            assert stream.read() == CONTENT[-4:]
            assert stream.read() == b""


def test_a_file_that_changes_on_the_way_is_an_error_that_says_so(folder: Path) -> None:
    with (
        http_files(folder, Faults(changes_after=2)) as url,
        pytest.raises(DataError, match="changed while it was read"),
    ):
        read(f"{url}/a.tar")


def test_a_server_without_ranges_is_refused(folder: Path) -> None:
    with http_files(folder, Faults(ranges=False)) as url:
        ((_, file),) = Urls((f"{url}/a.tar",)).files((".tar",))
        with opened(file) as stream:
            stream.seek(5)
            with pytest.raises(DataError, match="range"):
                stream.read()


def test_giving_up_says_what_to_do(folder: Path) -> None:
    with http_files(folder, Faults(busy=1000)) as url, pytest.raises(DataError, match=r"503.*after 6 attempts"):
        read(f"{url}/a.tar")


def test_a_missing_file_is_asked_for_once(folder: Path) -> None:
    faults = Faults()
    with http_files(folder, faults) as url, pytest.raises(DataError, match="no such file"):
        read(f"{url}/missing.tar")
    assert faults.asked == {"HEAD /missing.tar": 1, "GET /missing.tar": 1}


def test_folders_and_patterns_are_listed(folder: Path) -> None:
    with http_files(folder) as url:
        assert [name for name, _ in Urls((f"{url}/",)).files((".tar",))] == ["a.tar", "sub/b.tar"]
        assert [name for name, _ in Urls((f"{url}/sub/*.tar",)).files((".tar",))] == ["b.tar"]
        listed = Urls((f"{url}/sub/b.tar", f"{url}/a.tar")).files((".tar",))
        assert [name for name, _ in listed] == ["a.tar", "sub/b.tar"]
        with pytest.raises(DataError, match=r"no file ending in \.parquet"):
            Urls((url,)).files((".parquet",))


def test_the_fingerprint_follows_the_etag(folder: Path) -> None:
    with http_files(folder) as url:
        before = fingerprint_of(Urls((f"{url}/sub/b.tar",)).files((".tar",)))
        assert fingerprint_of(Urls((f"{url}/sub/b.tar",)).files((".tar",))) == before
        (folder / "sub/b.tar").write_bytes(b"c")
        assert fingerprint_of(Urls((f"{url}/sub/b.tar",)).files((".tar",))) != before


def test_secrets_are_asked_with_and_never_shown(folder: Path) -> None:
    faults = Faults()
    with http_files(folder, faults) as url:
        secret = f"{url.replace('//', '//me:hunter2@')}/a.tar?X-Amz-Signature=abc"
        ((name, file),) = Urls((secret,)).files((".tar",))
        assert (name, str(file)) == ("a.tar", f"{url}/a.tar")
        shown = [repr(file), repr(Urls((secret,))), str(Urls((secret, secret))), Urls((secret,)).home]
        (folder / "a.tar").unlink()
        with pytest.raises(DataError) as gone, opened(file) as stream:
            stream.read()
        assert not any(word in text for text in [*shown, str(gone.value)] for word in ("hunter2", "Signature"))
    assert faults.asked["HEAD /a.tar?X-Amz-Signature=abc"]


WORD = st.text(alphabet="abc0._-", min_size=1, max_size=6)


@given(WORD, WORD, WORD, st.sampled_from(["", " and more", "'", '"']))
def test_a_url_anywhere_in_a_text_loses_its_secrets(host: str, path: str, tail: str, behind: str) -> None:
    text = f"at s3://SECRET:KEY@{host}/{path}?token=SECRET&{tail}#KEY{behind}"
    assert without_secrets(text) == f"at s3://{host}/{path}{behind}"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aiohttp", None)
    with pytest.raises(DataError, match=r"pip install 'mmkd\[remote\]'"):
        read("https://example.org/a.tar")
    with pytest.raises(ConfigError, match="nosuch"):
        read("nosuch://a.tar")
