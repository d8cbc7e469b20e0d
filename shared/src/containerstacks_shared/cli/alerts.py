"""`containerstacks alerts`: test the receivers of ALERT_URLS, and list alerts."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import typer

from containerstacks_shared.alerts.messages import Text
from containerstacks_shared.alerts.receivers import Receiver, receivers
from containerstacks_shared.alerts.records import AlertRecord, read_recent
from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.core.lines import counted, one_line
from containerstacks_shared.outbox.delivery import NotDelivered
from containerstacks_shared.status.health import BY_KIND, Kind

from .database import read_settings, run_with_database
from .groups import command_group
from .options import Limit

app = command_group("Alerts by mail, chat or webhook.")


@app.command()
def test() -> None:
    """Send a test message to each URL of ALERT_URLS; exit code 1 when one of them did not accept it."""
    settings = read_settings()
    found = receivers(settings)
    if not found:
        raise ConfigurationError("ALERT_URLS: is not set, so no alert is sent")
    text = Text(
        title=f"[{settings.company_name}] Test of an alert",
        body="This is a test: nothing is wrong, and alerts arrive here.",
        severity=None,
    )
    results = asyncio.run(_send(found, text))
    for receiver, error in zip(found, results, strict=True):
        print(f"URL {receiver.name}: {'delivered' if error is None else f'failed: {error}'}")
    if any(results):
        raise typer.Exit(1)


async def _send(found: Sequence[Receiver], text: Text) -> list[str | None]:
    async def send(receiver: Receiver) -> str | None:
        try:
            await receiver.send(text)
        except NotDelivered as error:
            return str(error)
        return None

    return await asyncio.gather(*map(send, found))


@app.command("list")
def list_(limit: Limit = 50) -> None:
    """List alerts, what is open before what is over, and whether they were delivered."""
    alerts = run_with_database(read_recent, limit=limit)
    for record in alerts:
        print(_describe(record))
    if not alerts:
        print("There was no alert.")


def _describe(record: AlertRecord) -> str:
    severity = BY_KIND[Kind(record.kind)].severity
    return one_line(
        f"{record.id}  {_state(record)}  {severity}  {record.kind}: {record.summary}  [{_deliveries(record)}]"
    )


def _state(record: AlertRecord) -> str:
    if record.opened_at is None:
        return f"noticed {_moment(record.noticed_at)}, not yet sent"
    opened = f"opened {_moment(record.opened_at)}"
    return opened if record.resolved_at is None else f"{opened}, over {_moment(record.resolved_at)}"


def _deliveries(record: AlertRecord) -> str:
    words = [f"{record.delivered} delivered"]
    if record.waiting:
        error = f": {record.last_error}" if record.last_error else ""
        words.append(f"{record.waiting} waiting after {counted(record.attempts or 0, 'attempt')}{error}")
    if record.given_up:
        words.append(f"{record.given_up} given up")
    return ", ".join(words)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
