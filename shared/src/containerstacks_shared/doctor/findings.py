"""What a check found: one line."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """`text` holds no secret, no name of a person or customer, and no amount of money: it goes into bundles.

    `advice` is what to do. `detail` may quote anything, and is shown only to the user of the command.
    """

    subject: str
    level: Level
    text: str
    advice: str = ""
    detail: str = ""


def ok(subject: str, text: str) -> Finding:
    return Finding(subject, Level.OK, text)


def warning(subject: str, text: str, advice: str, *, detail: str = "") -> Finding:
    return Finding(subject, Level.WARNING, text, advice, detail)


def failed(subject: str, text: str, advice: str, *, detail: str = "") -> Finding:
    return Finding(subject, Level.FAILED, text, advice, detail)
