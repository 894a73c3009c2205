"""Files are written whole or not at all, and what killed writers leave goes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from magicdance_core.errors import InputError
from magicdance_core.files import (
    as_path,
    atomic_folder,
    atomic_write,
    check_target,
    existing,
    existing_file,
    remove_leftovers,
    resolve_inside,
)

REPOSITORY = Path(__file__).parent.parent
KILLED = """
import os, signal, sys
from magicdance_core.files import atomic_write, atomic_folder
with atomic_folder(sys.argv[1] + "/folder") as folder, atomic_write(sys.argv[1] + "/file.txt") as file:
    (folder / "inside").touch()
    print(os.listdir(sys.argv[1]), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def write(path, text="new"):
    with atomic_write(path) as part:
        part.write_text(text)


def test_a_file_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write(path, "old")
    with atomic_write(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("failure", [InputError("no"), OSError(28, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("whole", [atomic_write, atomic_folder])
def test_a_failure_leaves_what_was_there(tmp_path, whole, failure):
    with whole(tmp_path / "a") as part:
        (part / "inside" if part.is_dir() else part).write_text("old")
    before = sorted(tmp_path.rglob("*"))
    kind = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else InputError
    more = {"replaces": "inside"} if whole is atomic_folder else {}
    with pytest.raises(kind), whole(tmp_path / "a", **more) as part:
        (part / "other" if part.is_dir() else part).write_text("new")
        raise failure
    assert sorted(tmp_path.rglob("*")) == before


def test_folders_that_may_be_replaced(tmp_path):
    for text in ("one", "two"):
        with atomic_folder(tmp_path / "a", replaces="mark") as part:
            (part / "mark").write_text(text)
    assert (tmp_path / "a" / "mark").read_text() == "two"
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty") as part:
        (part / "x").touch()
    assert os.listdir(tmp_path / "empty") == ["x"]
    for name, more in (("a", {}), ("empty", {"replaces": "mark"})):
        with pytest.raises(InputError, match="give another name"), atomic_folder(tmp_path / name, **more):
            pytest.fail("the block was entered")
    assert sorted(os.listdir(tmp_path)) == ["a", "empty"]


def test_the_old_folder_stays_where_the_new_one_cannot_come(tmp_path, monkeypatch):
    with atomic_folder(tmp_path / "a", replaces="mark") as part:
        (part / "mark").write_text("old")
    replace = os.replace

    def refused(source, target):
        if str(source).endswith(".part"):
            raise OSError(13, "Permission denied")
        replace(source, target)

    with pytest.raises(InputError, match="Permission denied"), atomic_folder(tmp_path / "a", replaces="mark") as part:
        monkeypatch.setattr(os, "replace", refused)
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a" / "mark").read_text() == "old"


def test_a_long_name_is_no_obstacle(tmp_path):
    write(tmp_path / ("ä" * 120 + ".txt"))
    assert len(os.listdir(tmp_path)) == 1
    with pytest.raises(InputError, match="Cannot write"):
        write(tmp_path / ("a" * 300))


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a\0b", b"a", 7, None])
def test_what_names_nothing_is_refused(name):
    with pytest.raises(InputError):
        check_target(name)


def test_only_files_are_replaced_by_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to(os.devnull)
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "device", tmp_path / "pipe" / "under"):
        with pytest.raises(InputError, match="Cannot write"):
            check_target(path)


def test_only_files_are_read_as_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("pipe", "device", "loop", "absent", "x" * 300, "."):
        with pytest.raises(InputError):
            existing_file(tmp_path / name)
    assert existing(tmp_path) == tmp_path
    with pytest.raises(InputError, match="text"):
        as_path(3.5)


def test_leftovers_of_a_killed_process_go(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=REPOSITORY, capture_output=True, text=True)
    assert killed.returncode < 0 and killed.stdout.count(".part") == 2
    assert len(os.listdir(tmp_path)) == 2
    (tmp_path / ".file.txt.part").touch()  # somebody else's
    write(tmp_path / "file.txt")
    assert sorted(os.listdir(tmp_path)) == [".file.txt.part", "file.txt"]


def test_what_is_being_written_stays(tmp_path):
    with atomic_write(tmp_path / "a") as part:
        remove_leftovers.cache_clear()
        write(tmp_path / "b")
        assert part.exists()


@pytest.mark.parametrize("name", ["a.png", "sub/a.png", "sub/../a.png", "link/b.png"])
def test_names_inside_a_folder_are_resolved(tmp_path, name):
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(folder / "sub")
    assert resolve_inside(folder, name, "a picture") == (folder / name).resolve()


@pytest.mark.parametrize(
    "name", ["..", "../x", "/etc/passwd", "", ".", "sub/../../x", "out/x", "loop", "a\0b", 3, None, ["a"]]
)
def test_names_that_lead_out_of_a_folder_are_refused(tmp_path, name):
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    (folder / "out").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    with pytest.raises(InputError, match="a picture is named") as error:
        resolve_inside(folder, name, "a picture")
    assert "\n" not in str(error.value)


def test_temporary_names_cannot_be_guessed_and_follow_no_link(tmp_path, monkeypatch):
    names = set()
    for _ in range(2):
        with atomic_write(tmp_path / "a") as part:
            names.add(part.name)
    assert len(names) == 2
    victim = tmp_path / "victim"
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * 2 * size)
    with atomic_write(tmp_path / "a") as part:
        guessed = part
    guessed.symlink_to(victim)
    with pytest.raises(InputError, match="Cannot write"):
        with atomic_write(tmp_path / "a"):
            pytest.fail("a link was followed")
    assert not victim.exists()


def test_a_failed_write_leaves_no_folders(tmp_path):
    with pytest.raises(InputError), atomic_write(tmp_path / "a" / "b" / "c.txt"):
        raise InputError("no")
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError), atomic_write(tmp_path / "a" / "b" / "c.txt"):
        raise InputError("no")
    assert os.listdir(tmp_path) == ["a"]
