"""requirements/install.py: pip is quiet when it works, and says everything when it does not."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "requirements" / "install.py"


def install(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "things", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_a_successful_installation_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "nothing.txt").touch()
    done = install("--no-index", "-r", str(tmp_path / "nothing.txt"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "things: done\n", "")


def test_a_failed_installation_shows_the_output_of_pip() -> None:
    failed = install("--no-index", "no-such-thing")
    assert failed.returncode != 0
    assert failed.stdout == "things: failed\n"
    assert "No matching distribution found for no-such-thing" in failed.stderr
