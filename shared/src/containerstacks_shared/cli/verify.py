"""`containerstacks verify`: audits the money."""

import dataclasses
import json
from typing import Annotated

import typer

from containerstacks_shared.billing.verify import Finding
from containerstacks_shared.billing.verify import verify as audit

from .database import run_with_database


def verify(
    full: Annotated[  # noqa: ARG001 - Every audit reads everything; the word is for scripts that insist on it.
        bool, typer.Option("--full", help="Audit all of history, which is what happens without it too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Speak JSON.")] = False,
) -> None:
    """Prove that no cent was lost or charged twice; exit code 0 only if nothing was found."""
    findings = run_with_database(audit)
    if as_json:
        print(
            json.dumps({"clean": not findings, "findings": [*map(dataclasses.asdict, findings)]}, default=str)
        )
    else:
        _print(findings)
    if findings:
        raise typer.Exit(1)


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        print(f"{finding.check}: {finding.key}: {finding.detail}")
    print(f"{len(findings)} findings." if findings else "Every invariant holds.")
