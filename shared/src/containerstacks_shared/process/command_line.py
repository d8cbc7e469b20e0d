"""What the four commands have in common: help, `--version`, and exit codes."""

import sys
from collections.abc import Callable
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from containerstacks_shared.core.errors import ConfigurationError, ContainerStacksError
from containerstacks_shared.core.version import application_version

EXIT_FAILURE: Final = 1
# Click's own for a wrong use of the command line.
EXIT_CONFIGURATION: Final = 2
# The init scripts' exit code for a program that is not running.
EXIT_NOT_ALIVE: Final = 3

_EPILOG: Final = "Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 not alive (status)."


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(application_version())
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
]


# By the type of Pydantic's error.
_NOT_PARSED: Final = {"int_parsing": "an integer", "float_parsing": "a number", "uuid_parsing": "a UUID"}


class CommandGroup(TyperGroup):
    """Lists each command with its whole first sentence, which Click would cut off at the width of the terminal.

    Names a value that is wrong, of which Pydantic says only what the "input" should be.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            from pydantic import ValidationError  # noqa: PLC0415 - help does not need it

            if isinstance(error.__cause__, ValidationError):
                details = error.__cause__.errors()[0]
                if details["type"] in _NOT_PARSED:
                    error.message = f"{details['input']!r} is not {_NOT_PARSED[details['type']]}"
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, each.get_short_help_str(limit=10_000)) for name, each in commands.items() if each]
            )


def command_line(
    name: str, text: str, *, default: Callable[[], None] | None = None, group: type[TyperGroup] = CommandGroup
) -> typer.Typer:
    """Make a command with subcommands; without one it runs `default`, or shows its help."""
    app = typer.Typer(
        cls=group, name=name, help=text, epilog=_EPILOG, no_args_is_help=default is None, **_plain()
    )

    @app.callback(invoke_without_command=default is not None)
    def _options(context: typer.Context, *, version: _Version = False) -> None:  # noqa: ARG001 - acts by itself
        if default is not None and context.invoked_subcommand is None:
            default()

    return app


def service_command(name: str, text: str, run: Callable[[], None]) -> typer.Typer:
    """Make a command without subcommands, configured by the environment."""
    app = typer.Typer(**_plain())

    @app.command(name=name, help=text, epilog=_EPILOG)
    def _run(*, version: _Version = False) -> None:  # noqa: ARG001 - acts by itself
        run()

    return app


def run_command_line(app: typer.Typer) -> NoReturn:
    try:
        app()
    except ConfigurationError as error:
        complain(error)
        sys.exit(EXIT_CONFIGURATION)
    except ContainerStacksError as error:
        complain(error)
        sys.exit(EXIT_FAILURE)
    sys.exit(0)


def complain(error: ContainerStacksError) -> None:
    """Say in one line on standard error why a command or a service ends."""
    # The database's error messages span several lines.
    typer.echo(f"error: {' '.join(str(error).split())}", err=True)


def _plain() -> dict[str, Any]:
    return {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
