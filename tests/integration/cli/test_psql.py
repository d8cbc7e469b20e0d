"""`containerstacks psql`: a client without an installation."""

import os
import shutil
import subprocess
from pathlib import Path

from support.processes import SCRIPTS


def ask(database_url: str, *arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": os.environ.get("HOME", "/"), "PATH": path, "DATABASE_URL": database_url}
    command = [str(SCRIPTS / "containerstacks"), "psql", *arguments]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=120)


def test_the_bundled_client_asks_the_database(database_url: str, tmp_path: Path) -> None:
    assert shutil.which("psql", path=str(tmp_path)) is None
    asked = ask(database_url, "--no-psqlrc", "-Atc", "select current_database()", path=str(tmp_path))
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.strip() == database_url.rpartition("/")[2]


def test_its_exit_code_is_that_of_the_client(database_url: str, tmp_path: Path) -> None:
    assert (
        ask(database_url, "-v", "ON_ERROR_STOP=1", "-c", "select nothing", path=str(tmp_path)).returncode == 1
    )
