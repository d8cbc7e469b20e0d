#!/usr/bin/env python3
"""Makes the secrets that are missing, once, before anything starts; what is there is left as it is.

    python3 prepare.py SECRETS TLS

SECRETS gets one file for each secret of docker-compose.yml, readable in every container that mounts the folder. The
optional ones are made empty, which counts as unset. TLS gets a certificate for `localhost` that is signed by itself,
which only root reads. The files of an operator take the place of these.
"""

import secrets
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

OPTIONAL = ("alert-urls", "jwt-secret", "metrics-token")


def main(secrets_folder: Path, tls_folder: Path) -> None:
    password = _keep(secrets_folder / "database-password", secrets.token_hex(24))
    address = f"postgresql://containerstacks:{quote(password.strip(), safe='')}@postgres:5432/containerstacks"
    _keep(secrets_folder / "database-url", address)
    _keep(secrets_folder / "session-secret", secrets.token_hex(32))
    for name in OPTIONAL:
        _keep(secrets_folder / name, "")
    if not (tls_folder / "fullchain.pem").exists():
        _sign_certificate(tls_folder)


def _keep(file: Path, text: str) -> str:
    """Return what the file says, after making it if need be."""
    if not file.exists():
        # Whole or not at all: a run that is cut off leaves nothing that looks like a secret.
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.chmod(0o444)
        unfinished.rename(file)
    return file.read_text(encoding="utf-8")


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
    main(Path(sys.argv[1]), Path(sys.argv[2]))
