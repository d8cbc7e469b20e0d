"""`containerstacks verify`: audits the money."""

import dataclasses
import json
from typing import Annotated

import typer

from containerstacks_shared.billing.audit import Audit, audit_for_operator
from containerstacks_shared.core.lines import counted

from .database import run_with_database
from .groups import single_command

app = single_command()


@app.command()
def verify(
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Audit all of history. Without this option a long history is audited from the last clean audit on.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prove that no cent was lost or charged twice; exit code 0 only if no invariant of ours is broken."""
    done = run_with_database(audit_for_operator, full=full)
    if as_json:
        print(json.dumps(_document(done)))
    else:
        _print(done)
    if not done.is_clean:
        raise typer.Exit(1)


def _document(done: Audit) -> dict[str, object]:
    return {
        "clean": done.is_clean,
        "full": done.based_on is None,
        "audit": done.id,
        "basedOn": done.based_on,
        "own": len(done.own),
        "inherited": len(done.inherited) + done.inherited_known,
        "findings": [dataclasses.asdict(finding) for finding in (*done.own, *done.inherited)],
    }


def _print(done: Audit) -> None:
    for finding in (*done.inherited, *done.own):
        print(f"{finding.check}: {finding.key}: {finding.detail}")
    if done.inherited:
        print(f"{len(done.inherited)} inherited: another biller of this database left them.")
    if done.inherited_known:
        print(f"{done.inherited_known} inherited stand from an earlier audit; --full lists them.")
    print("Every invariant holds." if done.is_clean else f"{counted(len(done.own), 'finding')}.")
