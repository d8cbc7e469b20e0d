#!/usr/bin/env python3
"""Creates missing secrets before the services start, and copies each to its readers.

    python3 prepare.py SECRETS TLS HANDED_OUT

SECRETS gets one file for each secret of docker-compose.yml; existing files stay unchanged. Optional secrets are created
empty, which counts as unset. TLS gets a self-signed certificate for `localhost`, readable by root only. An
operator's own files replace these. HANDED_OUT has a folder for each reader with copies of its secrets, readable in the
containers that mount it.
"""

import secrets
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

OPTIONAL = ("alert-urls", "debt-hook-url", "heartbeat-url", "jwt-secret")
SERVICE = ("alert-urls", "database-url", "debt-hook-url", "heartbeat-url")
READERS = {
    "database": ("database-password",),
    "service": SERVICE,
    "web": (*SERVICE, "jwt-secret", "metrics-token", "session-secret"),
}


def main(secrets_folder: Path, tls_folder: Path, handed_out: Path) -> None:
    password = _keep(secrets_folder / "database-password", secrets.token_hex(24))
    address = f"postgresql://containerstacks:{quote(password.strip(), safe='')}@postgres:5432/containerstacks"
    _keep(secrets_folder / "database-url", address)
    _keep(secrets_folder / "session-secret", secrets.token_hex(32))
    # Without a token, /metrics answers private addresses, and Docker shows IPv6 visitors under one.
    _keep(secrets_folder / "metrics-token", secrets.token_hex(24), unless_empty=True)
    for name in OPTIONAL:
        _keep(secrets_folder / name, "")
    if not (tls_folder / "fullchain.pem").exists():
        _sign_certificate(tls_folder)
    for reader, names in READERS.items():
        for name in names:
            _write(handed_out / reader / name, (secrets_folder / name).read_text(encoding="utf-8"))


def _keep(file: Path, text: str, *, unless_empty: bool = False) -> str:
    """Return the file's content; create the file with `text` if it is missing."""
    if not file.exists() or (unless_empty and not file.read_text(encoding="utf-8").strip()):
        _write(file, text)
    return file.read_text(encoding="utf-8")


def _write(file: Path, text: str) -> None:
    # Atomic: an interrupted run leaves no partial secret.
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.write_text(text, encoding="utf-8")
    unfinished.chmod(0o444)
    unfinished.rename(file)


def _sign_certificate(folder: Path) -> None:
    chain, key = folder / "fullchain.pem", folder / "privkey.pem"
    unfinished = chain.with_suffix(".unfinished")
    subprocess.run(  # noqa: S603 - nothing in it comes from outside
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-noenc", "-days", "825", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", key, "-out", unfinished),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    key.chmod(0o400)
    unfinished.rename(chain)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
