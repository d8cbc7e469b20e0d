#!/usr/bin/env python3
"""Writes a manual page for each command and subcommand, from the text that `--help` prints.

    .venv/bin/python deploy/debian/manual.py FOLDER

Settings come from the same models that read them. The pages have the date of SOURCE_DATE_EPOCH, or today's.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from typer.main import get_command

from containerstacks_billing_daemon.__main__ import cli as billing_daemon
from containerstacks_billing_daemon.settings import BillingDaemonSettings
from containerstacks_shared.cli import application
from containerstacks_shared.core.setting_errors import is_secret, variable_name
from containerstacks_shared.core.settings import BillingSettings, CommonSettings
from containerstacks_shared.core.version import application_version
from containerstacks_stats_aggregator.__main__ import cli as stats_aggregator
from containerstacks_stats_aggregator.settings import StatsAggregatorSettings
from containerstacks_web.__main__ import cli as web
from containerstacks_web.settings import WebSettings

SETTINGS: Final[Mapping[str, type[CommonSettings]]] = {
    "containerstacks": BillingSettings,
    "containerstacks-web": WebSettings,
    "containerstacks-billing-daemon": BillingDaemonSettings,
    "containerstacks-stats-aggregator": StatsAggregatorSettings,
}
SECTION: Final = 1


def commands() -> Iterator[Any]:
    """Yield each command and its subcommands, as Click contexts."""
    main = get_command(application.app)
    main.commands = {name: application.load(name) for name in application.SUMMARIES}
    for name, command in zip(
        SETTINGS,
        (main, get_command(web), get_command(billing_daemon), get_command(stats_aggregator)),
        strict=True,
    ):
        yield from _with_descendants(command, name, None)


def _with_descendants(command: Any, name: str, parent: Any) -> Iterator[Any]:
    context = command.context_class(command, info_name=name, parent=parent)
    yield context
    for below, each in sorted(getattr(command, "commands", {}).items()):
        yield from _with_descendants(each, below, context)


def page_name(context: Any) -> str:
    return str(context.command_path).replace(" ", "-")


def page(context: Any, date: str) -> str:
    """Return the page's text, in the macros of man(7)."""
    command = context.command
    text = _one_line(command.help)
    name = page_name(context)
    lines = [
        f'.TH {name.upper()} {SECTION} {date} "ContainerStacks {application_version()}" "ContainerStacks"',
        ".SH NAME",
        f"{name} \\- {_escaped(_first_sentence(text))}",
        ".SH SYNOPSIS",
        f".B {_escaped(context.command_path)}",
        _escaped(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        _escaped(text),
        *_terms("OPTIONS", _options(context)),
        *_terms("COMMANDS", _summaries(context)),
        *(_environment(name) if context.parent is None else ()),
        ".SH EXIT STATUS",
        _escaped(_one_line(_root(context).command.epilog).removeprefix("Exit codes: ")),
        ".SH SEE ALSO",
        ",\n".join(f".BR {_escaped(other)} ({SECTION})" for other in _related(context)),
    ]
    return "\n".join(lines) + "\n"


def _options(context: Any) -> Iterator[tuple[str, str]]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield record


def _summaries(context: Any) -> Iterator[tuple[str, str]]:
    for name, command in getattr(context.command, "commands", {}).items():
        yield name, _one_line(command.get_short_help_str(limit=1000))


def _environment(name: str) -> Iterator[str]:
    yield from _terms("ENVIRONMENT", _settings(SETTINGS[name]))
    yield ".PP"
    yield _escaped("A secret may also stand in a file, named by the same variable with _FILE behind it.")


def _settings(settings: type[CommonSettings]) -> Iterator[tuple[str, str]]:
    for name, field in settings.model_fields.items():
        default = (
            "" if field.default is None or field.is_required() else f" [default: {_default(field.default)}]"
        )
        secret = " [secret]" if is_secret(field) else ""
        yield variable_name(name, field), f"{field.description}{default}{secret}"


def _default(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _related(context: Any) -> list[str]:
    """Return the parent command and the subcommands; for a program, the other programs."""
    if context.parent is None:
        found = {name for name in SETTINGS if name != page_name(context)}
    else:
        found = {page_name(context.parent)}
    below = getattr(context.command, "commands", {})
    return sorted(found | {f"{page_name(context)}-{name}" for name in below})


def _root(context: Any) -> Any:
    return context if context.parent is None else _root(context.parent)


def _terms(title: str, entries: Iterator[tuple[str, str]]) -> Iterator[str]:
    found = list(entries)
    if found:
        yield f".SH {title}"
    for term, text in found:
        yield ".TP"
        yield f".B {_escaped(term)}"
        yield _escaped(_one_line(text))


def _first_sentence(text: str) -> str:
    # The short form of a longer text: up to the first full stop or semicolon, without it.
    ends = [place for place in (text.find(". "), text.find("; ")) if place > 0]
    return text[: min(ends)] if ends else text.removesuffix(".")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    # A line that begins with a dot or quote would be a macro, and a plain hyphen would not be a minus.
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main(folder: Path) -> None:
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    date = time.strftime("%Y-%m-%d", time.gmtime(seconds))
    folder.mkdir(parents=True, exist_ok=True)
    for context in commands():
        (folder / f"{page_name(context)}.{SECTION}").write_text(page(context, date), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
