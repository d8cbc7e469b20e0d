"""`make` and its environment in `.venv`, which knows its own place."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make(folder: Path, *arguments: str) -> str:
    command = ["/usr/bin/env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "make", *arguments]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_moved_folder_gets_an_environment_of_its_own(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    # What the rules of the Makefile name.
    named = (
        "Makefile",
        "requirements/*.txt",
        "requirements/install.py",
        "shared/pyproject.toml",
        "services/*/pyproject.toml",
    )
    for path in [path for pattern in named for path in ROOT.glob(pattern)]:
        copy = first / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    make(first, ".venv/stamps/venv")
    for stamp in ("local", "dev"):
        (first / ".venv/stamps" / stamp).touch()
    assert "install.py" not in make(first, "-n", "check", "up")

    first.rename(second)

    assert "install.py" in make(second, "-n", "up")
    make(second, ".venv/stamps/venv")
    subprocess.run([second / ".venv/bin/pip", "--version"], check=True, capture_output=True, timeout=60)
    assert not (second / ".venv/stamps/local").exists()
    # Once.
    assert "-m venv" not in make(second, "-n", ".venv/stamps/venv")
