"""The manual pages say what `--help` says, and groff takes them."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.balancers import DEPLOY
from support.deployment import COMMANDS, SETTINGS_OF, variables_of
from support.packages import needs

GENERATOR = DEPLOY / "debian" / "manual.py"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man1")
    environment = {"SOURCE_DATE_EPOCH": "86400"}
    subprocess.run([sys.executable, GENERATOR, folder], env=environment, check=True, timeout=60)
    return folder


@needs("groff-base")
def test_groff_has_no_warnings(pages: Path) -> None:
    for page in sorted(pages.iterdir()):
        shown = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", page], capture_output=True, text=True, check=True, timeout=60
        )
        assert shown.stderr == "", page.name


def test_every_command_has_a_page_and_so_has_each_of_its_own(pages: Path) -> None:
    found = {page.name.removesuffix(".1") for page in pages.iterdir()}
    assert found >= COMMANDS
    assert found >= {"containerstacks-billing-refund", "containerstacks-billing-daemon-once"}
    for page in pages.iterdir():
        related = page.read_text(encoding="utf-8").partition(".SH SEE ALSO\n")[2].replace("\\-", "-")
        assert {line.split()[1] for line in related.splitlines()} <= found, page.name


@pytest.mark.parametrize(
    "command", [["containerstacks", "wallet", "credit"], ["containerstacks-billing-daemon", "install"]]
)
def test_a_page_has_what_help_says(pages: Path, command: list[str]) -> None:
    help_text = subprocess.run(
        [Path(sys.executable).parent / command[0], *command[1:], "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    page = (pages / f"{'-'.join(command)}.1").read_text(encoding="utf-8")
    words = page.replace("\\-", "-").replace(".B ", "").split()
    assert [
        word for word in help_text.split() if word not in words and word not in {"Usage:", "Options:"}
    ] == []


@pytest.mark.parametrize("command", sorted(SETTINGS_OF))
def test_a_program_lists_the_settings_that_it_reads(pages: Path, command: str) -> None:
    text = (pages / f"{command}.1").read_text(encoding="utf-8")
    listed = {line.removeprefix(".B ") for line in text.splitlines() if line.startswith(".B ")}
    own = {
        name for name in variables_of(command) if not name.startswith("OTEL_") and not name.endswith("_FILE")
    }
    assert own <= listed


def test_the_same_day_gives_the_same_pages(pages: Path) -> None:
    assert all("1970-01-02" in page.read_text(encoding="utf-8").splitlines()[0] for page in pages.iterdir())
