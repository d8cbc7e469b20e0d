"""`make`'s pip: one line of progress instead of hundreds, and everything that pip said when it fails.

python requirements/install.py WHAT PIP-ARGUMENTS…
"""

import subprocess
import sys

_PREPARED = ("Collecting ", "Processing ", "Obtaining ", "Requirement already satisfied: ")


def install(what: str, arguments: list[str]) -> int:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-input"]
    with subprocess.Popen(  # noqa: S603 - make's own words
        [*command, "--progress-bar", "off", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        assert pip.stdout is not None
        said, packages = [], 0
        for line in pip.stdout:
            said.append(line)
            packages += line.startswith(_PREPARED)
            _show(f"{what}: {'installing' if line.startswith('Installing') else 'package'} {packages}")
    if pip.returncode == 0:
        _show(f"{what}: done", last=True)
    else:
        _show(f"{what}: failed", last=True)
        sys.stderr.writelines(said)
    return pip.returncode


def _show(text: str, *, last: bool = False) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\033[K{text}" + ("\n" if last else " …"))
    elif last:
        sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(install(sys.argv[1], sys.argv[2:]))
