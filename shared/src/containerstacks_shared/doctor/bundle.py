"""An archive to send to support: what the doctor found, and what is needed to understand it.

It holds no secret, no name and no amount of money. Nothing is filtered out; only what is known to be harmless is
taken: of a setting with free text whether it is set, of a log line a few fields, and of an error the words that
PostgreSQL and this project use for errors.
"""

import io
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Final

from containerstacks_shared.core.setting_errors import variable_name
from containerstacks_shared.core.settings import BillingSettings
from containerstacks_shared.core.version import application_version
from containerstacks_shared.database import db
from containerstacks_shared.database.db import FAILURES

from .findings import Finding
from .server_checks import BIG_TABLES, QUERIES

_RUNS: Final = 100
_LOG_LINES: Final = 2000
_LOG_SECONDS_MAX: Final = 20.0
# Of an event: what it is. Numbers are kept beside these, unless they have decimals, as amounts do.
_LOG_FIELDS: Final = {"event", "level", "timestamp", "service", "logger"}
_NUMBER_FIELDS: Final = {
    "run_id",
    "term",
    "attempt",
    "attempts",
    "instances_billed",
    "hours_billed",
    "instances_unpaid",
}

_EVENT: Final = re.compile(r"[a-z_]+(\.[a-z_]+)*")
# What an error may say of itself; a name in quotes only where it is one of the schema's.
_SCHEMA_NAME: Final = re.compile(r'(?:relation|table|column|constraint|index|function|trigger) "[a-z_]+"')
_ERROR_WORDS: Final = frozenset(
    """
    access administrator aborted already another available away batch before began being billing block by cancel
    cancelled canceling check client clock closed command concurrent connect connection connections constraint could
    current cycle database deadlock denied detected disk does due duplicate ended error exceeds exist failed fatal
    field for foreign free full function going has in index instance interrupted is key left limit lock long longer
    lost memory middle missing more must no not null numeric obtain of on operation out overflow paused permission
    process range read reached recovery refused relation replaced reset right role row run running schema server
    session shut shutdown space stands starting state statement still stopped table terminating than the time timeout
    to too transaction trigger type unexpected unique until update updated user value violates wait waiting was
    """.split()  # noqa: SIM905 - a list of them would be a screen long
)


async def collect(settings: BillingSettings, found: Sequence[Finding]) -> dict[str, str]:
    """Return the files of a bundle by their names."""
    files = {"doctor.txt": "\n".join(line(finding) for finding in found), "settings.txt": _settings(settings)}
    files["versions.txt"] = "\n".join(
        f"{name} {value}"
        for name, value in {
            "containerstacks": application_version(),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        }.items()
    )
    files |= await _from_database(settings)
    files["log.jsonl"] = "\n".join(filter(None, map(safe_log_line, _read_log())))
    return files


def line(finding: Finding) -> str:
    advice = f" {finding.advice}" if finding.advice else ""
    return f"{finding.level.value:<8} {finding.subject:<14} {finding.text}.{advice}"


def write(path: Path, files: Mapping[str, str]) -> None:
    """Raises `OSError`. Nobody but the caller may read it."""
    with (
        os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw,
        tarfile.open(fileobj=raw, mode="w:gz") as archive,
    ):
        for name, text in files.items():
            data = f"{text}\n".encode()
            entry = tarfile.TarInfo(f"containerstacks-doctor/{name}")
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))


def _settings(settings: BillingSettings) -> str:
    return "\n".join(
        f"{variable_name(name, field)} {_shown(getattr(settings, name))}"
        for name, field in sorted(type(settings).model_fields.items())
    )


def _shown(value: object) -> str:
    if isinstance(value, bool | int | Decimal | Enum):
        return str(value)
    return "unset" if value in {None, ()} else "set"


# The database -----------------------------------------------------------------------------------


async def _from_database(settings: BillingSettings) -> dict[str, str]:
    try:
        pool = await db.create_pool(
            settings.dsn, service="doctor", size_max=1, through_pooler=settings.through_pooler
        )
    except FAILURES:
        return {}
    try:
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            runs = await connection.fetch(QUERIES["runs"], _RUNS)
            tables = await connection.fetch(QUERIES["tables"], list(BIG_TABLES))
    except FAILURES:
        return {}
    finally:
        pool.terminate()
    return {"runs.jsonl": _lines(map(_run, runs)), "tables.jsonl": _lines(map(dict, tables))}


def _run(row: Any) -> dict[str, Any]:
    message = row["error_message"]
    return dict(row) | {"error_message": None if message is None else safe_error(message)}


def _lines(rows: Any) -> str:
    return "\n".join(json.dumps(row, default=str) for row in rows)


def safe_error(message: str) -> str:
    """Keep the words of an error's first line that PostgreSQL or this project chose; what follows quotes whole rows."""
    kept: list[str] = []
    first = message.splitlines()[0] if message else ""
    for part in re.split(f"({_SCHEMA_NAME.pattern})", first):
        if _SCHEMA_NAME.fullmatch(part):
            kept.append(part)
        else:
            kept += (word if word.strip(",.:;()").lower() in _ERROR_WORDS else "…" for word in part.split())
    return " ".join(kept)


# The log ----------------------------------------------------------------------------------------


def _read_log() -> list[str]:
    """The services' lines in systemd's journal, where there is one that this user may read."""
    program = shutil.which("journalctl")
    if program is None:
        return []
    command = [program, "--quiet", "--output=cat", f"--lines={_LOG_LINES}", "--unit=containerstacks-*"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LOG_SECONDS_MAX, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.decode(errors="replace").splitlines()


def safe_log_line(text: str) -> str | None:
    """Of a line as `LOG_FORMAT=json` writes it, the event and harmless fields; None for any other line."""
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    # An event of a library is a sentence, which may say anything.
    if not isinstance(entry, dict) or not _EVENT.fullmatch(str(entry.get("event"))):
        return None
    kept = {name: value for name, value in entry.items() if name in _LOG_FIELDS and isinstance(value, str)}
    kept |= {name: value for name, value in entry.items() if name in _NUMBER_FIELDS and type(value) is int}
    return json.dumps(kept)
