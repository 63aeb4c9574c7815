"""Stage folders: complete, skipped, resumed, refused, forced; nothing half-written."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from mmkd.errors import ConfigError, DataError, StaleError
from mmkd.folders.atomic import atomic_file, draft_of, write_json
from mmkd.folders.intact import FILES, LOG
from mmkd.folders.locks import is_owned
from mmkd.folders.stage import (
    MANIFEST,
    NEEDED,
    Stage,
    begin,
    compared,
    complete,
    content_digest,
    digest_of,
    publish,
    read_manifest,
)


def stage_in(folder: Path, **settings: object) -> Stage:
    return Stage("test", folder / "made", settings, {"input": "abc"})


def write_one(folder: Path) -> dict[str, int]:
    (folder / "data.txt").write_text("hello")
    return {"rows": 1}


def test_a_finished_stage_has_a_manifest_and_is_skipped(tmp_path: Path) -> None:
    manifest = complete(stage_in(tmp_path, a=1), write_one)
    assert manifest["counts"] == {"rows": 1}
    assert manifest["digest"] == content_digest(tmp_path / "made", ("**/*",)) == digest_of(tmp_path / "made")

    def must_not_run(folder: Path) -> dict[str, int]:
        raise RuntimeError("ran again")

    assert complete(stage_in(tmp_path, a=1), must_not_run) == manifest
    assert not (tmp_path / "made.partial").exists()


def test_other_settings_or_inputs_are_refused_and_change_nothing(tmp_path: Path) -> None:
    complete(stage_in(tmp_path, a=1), write_one)
    before = (tmp_path / "made" / MANIFEST).read_bytes()
    with pytest.raises(ConfigError, match=r"other a \(was 1, now 2\).*--force"):
        complete(stage_in(tmp_path, a=2), write_one)
    with pytest.raises(ConfigError, match=r"inputs\.input"):
        complete(Stage("test", tmp_path / "made", {"a": 1}, {"input": "other"}), write_one)
    assert (tmp_path / "made" / MANIFEST).read_bytes() == before


def test_force_makes_it_anew(tmp_path: Path) -> None:
    complete(stage_in(tmp_path, a=1), write_one)

    def write_other(folder: Path) -> dict[str, int]:
        assert not (folder / "data.txt").exists()
        (folder / "other.txt").write_text("bye")
        return {}

    complete(stage_in(tmp_path, a=2), write_other, force=True)
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [FILES, LOG, MANIFEST, "other.txt"]
    assert not (tmp_path / "made.old").exists()


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "cut off"])
def test_a_keyed_folder_goes_on_from_what_it_has_when_forced(tmp_path: Path, finished: bool) -> None:
    def body(folder: Path) -> dict[str, int]:
        found = sorted(path.name for path in folder.glob("*.txt"))
        (folder / f"{len(found)}.txt").write_text("x")
        if not finished and not found:
            raise DataError("cut off")
        return {"found": len(found)}

    first, second = (Stage("test", tmp_path / "made", {"a": a}, keyed=True) for a in (1, 2))
    if finished:
        complete(first, body)
    else:
        with pytest.raises(DataError, match="cut off"):
            complete(first, body)
    with pytest.raises(ConfigError, match="--force"):
        complete(second, body)
    manifest = complete(second, body, force=True)
    assert (manifest["counts"], manifest["settings"]) == ({"found": 1}, {"a": 2})
    assert sorted(path.name for path in (tmp_path / "made").glob("*.txt")) == ["0.txt", "1.txt"]


def test_killed_while_a_keyed_folder_is_reopened_it_is_still_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = complete(Stage("test", tmp_path / "made", {"a": 1}, keyed=True), write_one)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmkd.folders.stage.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            begin(Stage("test", tmp_path / "made", {"a": 2}, keyed=True), force=True)
    assert not (tmp_path / "made").exists()
    assert begin(Stage("test", tmp_path / "made", {"a": 1}, keyed=True)) == made


def test_a_failed_body_keeps_what_it_had_for_the_next_attempt(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, int]:
        (folder / "half").write_text("x")
        raise DataError("no")

    with pytest.raises(DataError):
        complete(stage_in(tmp_path), fail)
    assert not (tmp_path / "made").exists()

    def go_on(folder: Path) -> dict[str, int]:
        assert (folder / "half").read_text() == "x"
        return {}

    complete(stage_in(tmp_path), go_on)
    assert (tmp_path / "made" / "half").exists()


def test_a_partial_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    begin(stage_in(tmp_path, a=1))
    (tmp_path / "made.partial" / "half").write_text("x")
    with pytest.raises(ConfigError, match="was made from other"):
        complete(stage_in(tmp_path, a=2), write_one)
    complete(stage_in(tmp_path, a=2), write_one, force=True)


def test_a_run_that_had_made_nothing_is_begun_again_with_other_settings(tmp_path: Path) -> None:
    """As one whose inputs were refused: a corrected option needs no --force."""
    begin(stage_in(tmp_path, a=1))
    assert compared(stage_in(tmp_path, a=2)) == ("to do", [])
    complete(stage_in(tmp_path, a=2), write_one)
    assert read_manifest(tmp_path / "made")["settings"] == {"a": 2}


def test_killed_between_manifest_and_rename_it_is_complete(tmp_path: Path) -> None:
    stage = stage_in(tmp_path)
    begin(stage)
    write_one(stage.partial)
    publish(stage, {"rows": 1}, 0.0)
    stage.folder.rename(stage.partial)  # as if the rename had not happened
    assert complete(stage, write_one)["counts"] == {"rows": 1}
    assert stage.folder.is_dir()


def test_killed_during_a_forced_replacement_the_new_folder_wins(tmp_path: Path) -> None:
    complete(stage_in(tmp_path, a=1), write_one)
    new = stage_in(tmp_path, a=2)
    begin(new, force=True)
    publish_without_rename(new)
    complete(new, write_one, force=True)
    assert read_manifest(new.folder)["settings"] == {"a": 2}


@pytest.mark.parametrize("moment", ["before the rename", "after it", "while the old one is removed"])
def test_killed_at_any_moment_of_a_forced_replacement_the_next_run_goes_on(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(stage_in(tmp_path, a=1), write_one)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    new = stage_in(tmp_path, a=2)
    with monkeypatch.context() as patch:
        if moment == "while the old one is removed":
            patch.setattr("mmkd.folders.stage.shutil.rmtree", killed)
        else:
            replace, calls = Path.replace, iter(range(10))
            number = 0 if moment == "before the rename" else 1
            at = {new.folder, new.partial}
            patch.setattr(
                Path, "replace", lambda a, b: killed() if a in at and next(calls) == number else replace(a, b)
            )
        with pytest.raises(KeyboardInterrupt):
            complete(new, write_one, force=True)
    assert complete(new, write_one, force=True)["settings"] == {"a": 2}
    assert complete(stage_in(tmp_path, a=3), write_one, force=True)["settings"] == {"a": 3}
    assert sorted(path.name for path in tmp_path.glob("*made*")) == [".made.lock", "made"]


def test_what_a_kill_left_of_a_replaced_folder_is_removed(tmp_path: Path) -> None:
    complete(stage_in(tmp_path, a=1), write_one)
    (tmp_path / "made.old" / "deep").mkdir(parents=True)
    (tmp_path / "made.old" / "deep" / "file").write_text("x")
    complete(stage_in(tmp_path, a=1), write_one)
    assert not (tmp_path / "made.old").exists()


def publish_without_rename(stage: Stage) -> None:
    write_one(stage.partial)
    (stage.partial / "begun.json").unlink()
    digest = content_digest(stage.partial, stage.outputs)
    write_json(stage.partial / MANIFEST, {**stage.made_from, "counts": {}, "digest": digest})


def test_the_digest_leaves_out_what_the_stage_does_not_count(tmp_path: Path) -> None:
    def timed(folder: Path) -> dict[str, int]:
        (folder / "data.txt").write_text("hello")
        (folder / "log.txt").write_text(str(time.time_ns()))
        return {}

    digests = {
        complete(Stage("test", tmp_path / name, {}, outputs=("data.txt",)), timed)["digest"] for name in ("a", "b")
    }
    assert len(digests) == 1


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    def collide(folder: Path) -> dict[str, int]:
        with pytest.raises(ConfigError, match="another process"):
            complete(stage_in(tmp_path), write_one)
        return {}

    complete(stage_in(tmp_path), collide)


def _slow_body(folder: Path) -> dict[str, int]:
    for number in range(1000):
        write_json(folder / f"{number:04d}.json", number)
        time.sleep(0.002)
    return {}


def _slow_stage(folder: Path) -> None:
    complete(stage_in(folder), _slow_body)


def test_after_kill_nine_the_lock_is_free_and_files_are_whole(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_slow_stage, args=(tmp_path,))
    worker.start()
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "made.partial").glob("0*.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()

    def check(folder: Path) -> dict[str, int]:
        for number, path in enumerate(sorted(folder.glob("0*.json"))):
            assert json.loads(path.read_text()) == number
        return {"found": len(list(folder.glob("0*.json")))}

    assert complete(stage_in(tmp_path), check)["counts"]["found"] >= 5


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    complete(stage_in(tmp_path), write_one)
    (tmp_path / "made" / MANIFEST).write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json: not readable as JSON"):
        digest_of(tmp_path / "made")
    with pytest.raises(DataError, match="no finished stage"):
        digest_of(tmp_path / "nothing")


@pytest.mark.parametrize("key", NEEDED)
@pytest.mark.parametrize("value", [None, 3])
def test_a_manifest_without_what_it_needs_is_refused(tmp_path: Path, key: str, value: object) -> None:
    manifest = complete(stage_in(tmp_path), write_one)
    (tmp_path / "made" / MANIFEST).write_text(json.dumps({**manifest, key: value}))
    for read in (digest_of, read_manifest):
        with pytest.raises(DataError, match=rf"manifest\.json: no {key} in it.*delete its folder and run again"):
            read(tmp_path / "made")


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000, '{"digest": "\ud800', "\0" * 100])
def test_a_manifest_that_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    complete(stage_in(tmp_path), write_one)
    (tmp_path / "made" / MANIFEST).write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=r"manifest\.json: (not readable|expected).*delete its folder and run again"):
        complete(stage_in(tmp_path), write_one)


def test_a_planted_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / ".made.lock").symlink_to(tmp_path / "elsewhere")
    assert not is_owned(tmp_path / "made")
    with pytest.raises(ConfigError, match=r"\.made\.lock is a link, which is not followed; remove it"):
        complete(stage_in(tmp_path), write_one)
    (tmp_path / ".made.lock").unlink()
    (tmp_path / ".made.lock").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="is a link"):
        complete(stage_in(tmp_path), write_one)
    assert not (tmp_path / "nowhere").exists()
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert not (tmp_path / "made").exists()


def test_a_planted_draft_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    draft_of(tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    write_json(tmp_path / "file", 3)
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert not (tmp_path / "file").is_symlink()


def test_an_atomic_file_is_not_there_when_writing_fails(tmp_path: Path) -> None:
    def fail_midway() -> None:
        with atomic_file(tmp_path / "file") as stream:
            stream.write(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_midway()
    assert not (tmp_path / "file").exists()


def test_killed_while_publishing_the_work_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmkd.folders.stage.list_files", killed)
    with pytest.raises(KeyboardInterrupt):
        complete(stage_in(tmp_path), write_one)
    monkeypatch.undo()

    def finds_it(folder: Path) -> dict[str, int]:
        assert (folder / "data.txt").read_text() == "hello"
        return {}

    complete(stage_in(tmp_path), finds_it)
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["data.txt", FILES, LOG, MANIFEST]


def test_stages_in_a_pool_are_made_once_and_linked(tmp_path: Path) -> None:
    def shared(run: str, **settings: object) -> Stage:
        return stage_in(tmp_path / run, **settings).in_pool(tmp_path / "pool")

    first = complete(shared("first", a=1), write_one)

    def must_not_run(folder: Path) -> dict[str, int]:
        raise RuntimeError("ran again")

    assert complete(shared("second", a=1), must_not_run) == first
    links = [tmp_path / run / "made" for run in ("first", "second")]
    assert all(link.is_symlink() and (link / "data.txt").read_text() == "hello" for link in links)
    complete(shared("third", a=2), write_one)
    assert len(list((tmp_path / "pool").glob("test-*"))) == 2
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("pool", "first"):
        (tmp_path / name).rename(moved / name)
    assert digest_of(moved / "first" / "made") == first["digest"]  # links are relative


def test_a_link_to_something_else_is_refused_and_moved_only_by_force(tmp_path: Path) -> None:
    one, other = (stage_in(tmp_path, a=value).in_pool(tmp_path / "pool") for value in (1, 2))
    complete(one, write_one)
    with pytest.raises(ConfigError, match=r"other a \(was 1, now 2\).*--force"):
        complete(other, write_one)
    assert (tmp_path / "made").resolve() == one.folder
    complete(other, write_one, force=True)
    assert (tmp_path / "made").resolve() == other.folder
    assert one.folder.is_dir()  # what others may use stays


def test_a_folder_of_its_own_is_never_replaced_by_a_link(tmp_path: Path) -> None:
    complete(stage_in(tmp_path, a=1), write_one)
    with pytest.raises(ConfigError, match="a folder of its own, not a link"):
        complete(stage_in(tmp_path, a=1).in_pool(tmp_path / "pool"), write_one)


def make_slowly(pool: Path, run: Path) -> None:
    def body(folder: Path) -> dict[str, int]:
        time.sleep(0.3)
        return write_one(folder)

    complete(stage_in(run, a=1).in_pool(pool), body)


def test_a_shared_stage_waits_for_the_run_that_makes_it(tmp_path: Path) -> None:
    children = [
        multiprocessing.get_context("fork").Process(target=make_slowly, args=(tmp_path / "pool", tmp_path / name))
        for name in ("one", "two")
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert digest_of(tmp_path / "one" / "made") == digest_of(tmp_path / "two" / "made")


def test_a_refusal_names_the_innermost_keys_with_both_values(tmp_path: Path) -> None:
    old = {"sources": [{"path": "a", "names": {}}], "cards": ["x"], "lr": 0.1}
    new = {"sources": [{"path": "b", "names": {}}], "cards": ["x", "y"], "lr": 0.1, "extra": None}
    complete(Stage("test", tmp_path / "made", old, {"corpus": "0" * 64}), write_one)
    with pytest.raises(StaleError) as refused:
        complete(Stage("test", tmp_path / "made", new, {"corpus": "1" * 64}), write_one)
    assert refused.value.what == (
        f"{tmp_path / 'made'} was made from other cards[1] (was None, now 'y'), "
        "sources[0].path (was 'a', now 'b'), inputs.corpus (was '00000000000...00', now '11111111111...11')"
    )
    assert compared(Stage("test", tmp_path / "made", old, {"corpus": "0" * 64})) == ("complete", [])
    assert compared(Stage("test", tmp_path / "other", old)) == ("to do", [])
