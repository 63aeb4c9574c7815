"""A teacher's files are found in the folder, in $MMKD_TEACHERS, in the hub's cache; else a message says what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from hub_cache import COMMIT, OLDER, entry, fake_cache, touch
from huggingface_hub import constants, errors

from mmkd.errors import ModelError
from mmkd.teachers.files.locate import Files, find_tokenizer, find_weights, places
from mmkd.teachers.zoo.entry import Source, ZooEntry


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the machine's own is found; the network is off (tests/conftest.py)."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert constants.HF_HUB_OFFLINE
    return tmp_path / "hub"


def test_a_folder_comes_before_the_environment_and_that_before_the_hub(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = fake_cache(cache, "lab/some-clip", "model.safetensors")
    assert find_weights(entry(), None) == Files((snapshot / "model.safetensors",), COMMIT)
    monkeypatch.setenv("MMKD_TEACHERS", str(tmp_path / "all"))
    assert find_weights(entry(), None).revision == COMMIT
    common = touch(tmp_path / "all" / "some-clip", "model.safetensors")
    assert find_weights(entry(), None) == Files(common)
    own = touch(tmp_path / "own", "model.safetensors")
    assert find_weights(entry(), tmp_path / "own") == Files(own)
    assert find_weights(entry(), tmp_path / "own").folder == tmp_path / "own"


def test_nothing_stands_in_for_what_a_named_folder_lacks(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_cache(cache, "lab/some-clip", "model.safetensors")
    monkeypatch.setenv("MMKD_TEACHERS", str(tmp_path / "all"))
    touch(tmp_path / "all" / "some-clip", "model.safetensors")
    with pytest.raises(ModelError, match=r"Looked in .*empty; a folder that is named is the only place\."):
        find_weights(entry(), tmp_path / "empty")


def test_the_first_complete_set_of_files_counts(tmp_path: Path) -> None:
    touch(tmp_path, "image.pth")
    with pytest.raises(ModelError, match=r"model\.safetensors or image\.pth \+ text \(1\)\.pth"):
        find_weights(entry(), tmp_path)
    split = touch(tmp_path, "image.pth", "text (1).pth")
    assert find_weights(entry(), tmp_path).paths == split
    whole = touch(tmp_path, "model.safetensors")
    assert find_weights(entry(), tmp_path).paths == whole


@pytest.mark.parametrize("download", [True, False])
def test_the_hubs_cache_is_searched_set_by_set(download: bool, cache: Path) -> None:
    snapshot = fake_cache(cache, "lab/some-clip", "image.pth")
    with pytest.raises(ModelError, match="weights not found"):
        find_weights(entry(), None, download=download)
    fake_cache(cache, "lab/some-clip", "text (1).pth")
    found = find_weights(entry(), None, download=download)
    assert found == Files((snapshot / "image.pth", snapshot / "text (1).pth"), COMMIT)
    assert [path.read_text() for path in found.paths] == ["image.pth", "text (1).pth"]


@pytest.mark.parametrize("download", [True, False])
def test_a_pinned_revision_is_the_only_one(download: bool, cache: Path) -> None:
    fake_cache(cache, "lab/some-clip", "model.safetensors")
    with pytest.raises(ModelError, match=f"at revision {OLDER}.* --revision {OLDER}"):
        find_weights(entry(), None, OLDER, download=download)
    older = fake_cache(cache, "lab/some-clip", "model.safetensors", commit=OLDER)
    assert find_weights(entry(), None, OLDER, download=download) == Files((older / "model.safetensors",), OLDER)
    weights = Source(repo="lab/some-clip", files=[["model.safetensors"]], revision=OLDER)
    assert find_weights(entry(weights=weights), None, download=download).revision == OLDER


@pytest.mark.parametrize("download", [True, False])
def test_weights_in_a_data_set_repository_and_in_a_subfolder(download: bool, cache: Path) -> None:
    weights = Source(repo="lab/some-clip", repo_type="dataset", files=[["deep/down/model.pt"]])
    fake_cache(cache, "lab/some-clip", "deep/down/model.pt")  # a model of the same name is another repository
    with pytest.raises(ModelError, match=r"hf download --repo-type dataset lab/some-clip deep/down/model\.pt"):
        find_weights(entry(weights=weights), None, download=download)
    snapshot = fake_cache(cache, "lab/some-clip", "deep/down/model.pt", kind="datasets")
    found = find_weights(entry(weights=weights), None, download=download)
    assert found == Files((snapshot / "deep" / "down" / "model.pt",), COMMIT)


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME"])
def test_the_hubs_own_variables_are_followed_offline(variable: str, tmp_path: Path) -> None:
    """In a process of its own: the client reads them once, when it is imported."""
    home = tmp_path / "elsewhere"
    snapshot = fake_cache(home if variable == "HF_HUB_CACHE" else home / "hub", "lab/some-clip", "model.safetensors")
    code = (
        "import json, sys; from mmkd.teachers.zoo.entry import ZooEntry\n"
        "from mmkd.teachers.files.locate import find_weights\n"
        "found = [find_weights(ZooEntry(**json.loads(sys.argv[1])), None, download=d) for d in (True, False)]\n"
        "print(json.dumps([[str(f.folder), f.revision] for f in found]))"
    )
    kept = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_CACHE", "HF_HOME", "MMKD_TEACHERS")}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(entry().model_dump())],
        env={**kept, variable: str(home), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [[str(snapshot), COMMIT]] * 2


def test_tokenizers_lie_in_text_beside_the_weights_or_in_their_own_repository(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"tokenizer not found .*hf download lab/some-bert tokenizer\.json, or put"):
        find_tokenizer(entry(), tmp_path / "own")
    snapshot = fake_cache(cache, "lab/some-bert", "vocab.txt")
    assert find_tokenizer(entry(), tmp_path / "own").folder == snapshot
    monkeypatch.setenv("MMKD_TEACHERS", str(tmp_path / "all"))
    common = touch(tmp_path / "all" / "some-clip" / "text", "vocab.txt")
    assert find_tokenizer(entry(), tmp_path / "own").paths == common
    beside = touch(tmp_path / "own", "tokenizer.json")
    assert find_tokenizer(entry(), tmp_path / "own").paths == beside
    inside = touch(tmp_path / "own" / "text", "vocab.txt")
    assert find_tokenizer(entry(), tmp_path / "own").paths == inside


def test_the_message_says_what_where_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError) as caught:
        find_weights(entry(), None)
    assert str(caught.value) == (
        "teacher 'some-clip': weights not found (model.safetensors or image.pth + text (1).pth). Looked in no folder "
        "($MMKD_TEACHERS is not set); hf.co/lab/some-clip: not in the hub's cache at revision main, and the network is "
        "switched off or out of reach. To mend it: hf download lab/some-clip model.safetensors, or put the files into "
        'a folder and name it as the teacher\'s weights = "FOLDER"'
    )
    monkeypatch.setenv("MMKD_TEACHERS", str(tmp_path))
    with pytest.raises(ModelError, match=f"Looked in {tmp_path / 'some-clip'};"):
        find_weights(entry(), None)


def test_the_command_can_be_pasted_into_a_shell() -> None:
    weights = Source(repo="lab/some-clip", files=[["image_encoder(resnet50).pth", "text.pth"]])
    with pytest.raises(ModelError, match=r"hf download lab/some-clip 'image_encoder\(resnet50\)\.pth' text\.pth, or"):
        find_weights(entry(weights=weights), None)


def test_terms_are_named_where_there_are_some() -> None:
    with pytest.raises(ModelError, match=r"model\.safetensors after accepting its terms at hf\.co/lab/some-clip"):
        find_weights(entry(gated="yes"), None)


def test_what_no_hub_has_is_fetched_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    elsewhere = entry(weights=Source(url="https://lab.example/w.zip", files=[["w.bin"]]))
    with pytest.raises(
        ModelError, match=r"w\.zip is not fetched automatically\. To mend it: fetch https://lab\.example"
    ):
        find_weights(elsewhere, None)
    assert places(elsewhere) == ["$MMKD_TEACHERS/some-clip (not set)", "https://lab.example/w.zip"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("GatedRepoError", "hf.co/lab/some-clip: gated; accept its terms there and log in with 'hf auth login'"),
        ("RepositoryNotFoundError", "hf.co/lab/some-clip: no access; it is gone or private"),
        ("LocalEntryNotFoundError", "not in the hub's cache at revision main"),
        ("OSError", "hf.co/lab/some-clip: disk full."),
    ],
)
def test_what_the_hub_answers_is_put_in_a_line(error: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = (
        OSError("disk full\nand more") if error == "OSError" else getattr(errors, error).__new__(getattr(errors, error))
    )

    def refuse(*args: object, **kwargs: object) -> None:
        raise raised

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError) as caught:
        find_weights(entry(), None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_repository_without_the_file_is_said_to_lack_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As online: the client downloads nothing and says nothing when no file has the name."""
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **kwargs: str(tmp_path))
    with pytest.raises(ModelError, match=r"hf\.co/lab/some-clip: no file model\.safetensors at revision main"):
        find_weights(entry(), None)


def test_looking_without_downloading_asks_no_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    with pytest.raises(ModelError, match=r"model\.safetensors is not in the hub's cache at revision main"):
        find_weights(entry(), None, download=False)


def test_places_are_listed_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places(entry()) == ["$MMKD_TEACHERS/some-clip (not set)", "hf.co/lab/some-clip"]
    monkeypatch.setenv("MMKD_TEACHERS", str(tmp_path))
    dataset = Source(repo="lab/some-clip", repo_type="dataset", files=[["w"]])
    assert places(entry(weights=dataset)) == [str(tmp_path / "some-clip"), "hf.co/datasets/lab/some-clip"]
    assert places(entry(), tmp_path / "own") == [str(tmp_path / "own")]


def test_a_refused_teacher_has_no_places() -> None:
    refused = ZooEntry(
        name="no",
        title="No",
        status="refused",
        reason="its terms",
        paper="",
        modalities=[],
        licence="CC BY-NC-ND",
        use="noncommercial",
    )
    assert places(refused) == []
    with pytest.raises(ModelError, match="no source of its weights; it is refused"):
        find_weights(refused, None)
