"""The command line: its commands.

A command's module is imported when the command is named, so that help starts at once.
"""

from importlib import import_module
from typing import Any, Final, NoReturn

from typer.core import TyperCommand
from typer.main import get_command

from containerstacks_shared.process.command_line import CommandGroup, command_line, run_command_line

# In the order in which help lists them, with what each module says of itself.
SUMMARIES: Final = {
    "up": "Run everything on this machine: PostgreSQL (unless DATABASE_URL is set) and the three services.",
    "migrate": "Create the schema, adopt an existing application's database, or bring it up to date.",
    "verify": "Prove that no cent was lost or charged twice; exit code 0 only if no invariant of ours is broken.",
    "doctor": "Check the whole installation and say what to do; exit code 1 if anything failed.",
    "psql": "Open psql on the database; further arguments are passed to it.",
    "demo": "The demo fleet.",
    "admin": "Administrators, auditors and billing staff, and their API keys.",
    "wallet": "Wallets.",
    "billing": "Hourly billing.",
    "incident": "Incidents on the status page.",
    "maintenance": "Planned maintenance on the status page.",
    "alerts": "Alerts by mail, chat or webhook.",
}


# Typer carries a Click of its own, whose types are private: hence Any.
def load(name: str) -> Any:
    """Import the module of a command, and give the command."""
    return get_command(import_module(f"{__package__}.{name}").app)


class _Commands(CommandGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(SUMMARIES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Give what help lists: a name and a summary."""
        del ctx
        return TyperCommand(cmd_name, short_help=SUMMARIES[cmd_name]) if cmd_name in SUMMARIES else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load(name), rest


app = command_line(
    "containerstacks",
    "ContainerStacks: status and about pages, and hourly billing, on one PostgreSQL.",
    group=_Commands,
)


def main() -> NoReturn:
    run_command_line(app)
