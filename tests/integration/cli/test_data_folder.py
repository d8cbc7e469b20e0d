"""The folder of `up`: its secrets, and who holds it."""

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from containerstacks_shared.core.errors import ConfigurationError, ContainerStacksError
from containerstacks_shared.local import which_database
from containerstacks_shared.local.data_folder import NAME, DataFolder
from containerstacks_shared.local.which_database import database_overrides, is_database_given

NO_PATIENCE = timedelta(0)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / NAME)
    folder.prepare()
    return folder


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(folder: DataFolder) -> None:
    secret = folder.secret("session-secret", characters=64)
    assert len(secret) == 64
    assert folder.secret("session-secret", characters=64) == secret
    assert DataFolder(folder.path).secret("session-secret", characters=64) == secret
    assert folder.secret("another", characters=64) != secret
    assert mode_of(folder.path / "session-secret") == 0o600


def test_only_its_owner_may_list_the_folder(folder: DataFolder) -> None:
    assert mode_of(folder.path) & 0o066 == 0


def test_only_one_process_holds_the_folder_and_another_is_refused_with_its_pid(folder: DataFolder) -> None:
    with (
        folder.held(),
        pytest.raises(ContainerStacksError, match=rf"already running as process {os.getpid()}\b"),
        DataFolder(folder.path).held(patience=NO_PATIENCE),
    ):
        pass
    with DataFolder(folder.path).held(patience=NO_PATIENCE):
        pass


def test_what_was_started_is_found_again(folder: DataFolder) -> None:
    assert folder.read_children() == {}
    folder.write_children({"containerstacks-web": 17})
    assert DataFolder(folder.path).read_children() == {"containerstacks-web": 17}


def test_a_full_disk_keeps_up_neither_from_running_nor_from_stopping(folder: DataFolder) -> None:
    for name in (f"children.json.{os.getpid()}", "up.lock"):
        (folder.path / name).symlink_to("/dev/full")
    folder.write_children({"containerstacks-web": 17})
    folder.say_stopping()
    assert folder.read_children() == {}


def test_an_unreadable_children_file_is_ignored(folder: DataFolder) -> None:
    (folder.path / "children.json").write_text("{", encoding="ascii")
    assert folder.read_children() == {}


def test_the_database_url_exists_while_up_runs(folder: DataFolder) -> None:
    assert folder.read_database_url() is None
    folder.write_database_url("postgresql://here")
    assert folder.read_database_url() == "postgresql://here"
    assert mode_of(folder.database_url_file) == 0o600
    folder.forget_database_url()
    assert folder.read_database_url() is None


def test_the_address_that_a_killed_up_left_is_nobodys(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "DATABASE_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder.path.parent)
    monkeypatch.setenv("XDG_DATA_HOME", str(folder.path / "nobody"))
    folder.write_database_url("postgresql://gone")
    # The next one has yet to start its server, or works on a database that was given.
    with folder.held():
        assert database_overrides() == {}


def test_a_database_that_stops_while_a_command_looks_is_none(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(which_database, "data_folder_of_running_up", lambda: folder)
    assert database_overrides() == {}


def test_a_folder_that_cannot_be_made_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=f"cannot write to {tmp_path}/file/{NAME}: Not a directory"):
        DataFolder(tmp_path / "file" / NAME).prepare()


def test_the_working_directory_has_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert DataFolder.of_working_directory().path == tmp_path / NAME


def test_a_directory_that_cannot_be_written_leaves_the_users_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    # Root may write everywhere, so the question is answered here.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert DataFolder.of_working_directory().path == tmp_path / "data" / "containerstacks"


def test_a_command_finds_the_database_of_the_next_up_above_it(
    folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "DATABASE_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    below = tmp_path / "docs" / "images"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert database_overrides() == {}
    with folder.held():
        folder.write_database_url("postgresql://here")
        assert database_overrides() == {"database_url": "postgresql://here"}
        monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
        assert database_overrides() == {}
    # An `up` that was killed left its address behind.
    monkeypatch.delenv("DATABASE_URL")
    assert folder.read_database_url() is not None
    assert database_overrides() == {}


def test_its_own_database_url_is_not_a_given_database(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL_FILE", raising=False)
    folder.postgresql.mkdir()
    (folder.postgresql / "containerstacks.password").write_text("sesame", encoding="ascii")
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres:sesame@127.0.0.1:20001/containerstacks")
    assert not is_database_given(folder)
    for another in (
        "postgres:open@127.0.0.1:20001/containerstacks",
        "postgres:sesame@127.0.0.1:20001/another",
    ):
        monkeypatch.setenv("DATABASE_URL", f"postgresql://{another}")
        assert is_database_given(folder)
