"""How the commands are made: plain help, and nothing imported that help does not need."""

import typer

from containerstacks_shared.process.command_line import CommandGroup


def command_group(summary: str, *, invoke_without_command: bool = False) -> typer.Typer:
    """Make a group of commands. Without a command it prints its help, or is itself invoked."""
    return typer.Typer(
        cls=CommandGroup,
        help=summary,
        no_args_is_help=not invoke_without_command,
        invoke_without_command=invoke_without_command,
        add_completion=False,
        rich_markup_mode=None,
    )


def single_command() -> typer.Typer:
    """Make the place for one command that stands by itself."""
    return typer.Typer(add_completion=False, rich_markup_mode=None)
