"""What `install --print` shows: all that it would take to install the daemon by hand."""

from .platforms.installation import Command, Installation


def instructions(installation: Installation) -> str:
    """Return the definition, and below it the rest as its comments, so that the whole may be saved as it is."""
    comments = "\n".join(installation.comment.format(line).rstrip() for line in _rest(installation))
    return f"{installation.definition.text}\n{comments}\n"


def _rest(installation: Installation) -> list[str]:
    steps = [(f"Save this as {installation.definition.path}", list[str]())]
    steps += [
        (f"Save as {companion.path}:", companion.text.splitlines()) for companion in installation.companions
    ]
    if installation.prepare:
        steps.append(("Run:", _lines(installation.prepare)))
    steps += [
        (
            f"Write {installation.connection_form} into {installation.connection_file},",
            [f"readable by {installation.connection_reader} only"],
        ),
        ("Run:", _lines(installation.start)),
    ]
    found = ["By hand, as an administrator, what `install` does:"]
    for number, (step, details) in enumerate(steps, start=1):
        found += [f"{number}. {step}", *(f"   {detail}" for detail in details)]
    return found


def _lines(commands: tuple[Command, ...]) -> list[str]:
    return [" ".join(command) for command in commands]
