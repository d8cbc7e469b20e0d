"""The text of a message: alerts of one kind that begin or end together share one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from containerstacks_shared.core.lines import one_line
from containerstacks_shared.outbox.messages import Message
from containerstacks_shared.status.health import BY_KIND, Condition, Kind, Severity

_LINES_MAX: Final = 20
_CHARACTERS_MAX: Final = 300


@dataclass(frozen=True)
class AlertMessage:
    """An alert in the outbox, for one receiver."""

    alert_id: int
    event: str
    kind: str
    summary: str
    opened_at: datetime
    resolved_at: datetime | None

    @classmethod
    def read(cls, message: Message) -> Self:
        payload = message.payload
        resolved_at = payload["resolved_at"]
        return cls(
            alert_id=message.subject_id,
            event=message.event,
            kind=payload["kind"],
            summary=payload["summary"],
            opened_at=datetime.fromisoformat(payload["opened_at"]),
            resolved_at=resolved_at and datetime.fromisoformat(resolved_at),
        )


@dataclass(frozen=True)
class Text:
    """A message to a receiver. Without a severity it says that something is resolved."""

    title: str
    body: str
    severity: Severity | None


def compose(messages: Sequence[AlertMessage], *, company: str) -> Text:
    """`messages` are of one kind and event."""
    about = BY_KIND[Kind(messages[0].kind)]
    recovered = messages[0].event == "recovered"
    several = f" ({len(messages)})" if len(messages) > 1 else ""
    return Text(
        title=f"[{_shortened(company)}] {about.recovered if recovered else about.title}{several}",
        body="\n".join(_lines(messages, about, recovered=recovered)),
        severity=None if recovered else about.severity,
    )


def _lines(messages: Sequence[AlertMessage], about: Condition, *, recovered: bool) -> list[str]:
    lines = [_line(message, recovered=recovered) for message in messages[:_LINES_MAX]]
    if len(messages) > _LINES_MAX:
        lines.append(f"… and {len(messages) - _LINES_MAX} more: `containerstacks alerts list`")
    if not recovered:
        lines.append(f"Severity: {about.severity}")
    return lines


def _line(message: AlertMessage, *, recovered: bool) -> str:
    # The number lets a reader see that a message came twice.
    began = f"{message.opened_at:%Y-%m-%d %H:%M} UTC: {_shortened(message.summary)}"
    if recovered and message.resolved_at is not None:
        return f"Alert {message.alert_id} ended at {message.resolved_at:%Y-%m-%d %H:%M} UTC. It began {began}"
    return f"Alert {message.alert_id}, {began}"


def _shortened(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _CHARACTERS_MAX else f"{line[: _CHARACTERS_MAX - 1]}…"
