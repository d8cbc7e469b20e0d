"""What was typed into a form, and what is wrong with it: both go back onto the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from containerstacks_shared.core.lines import REASON_CHARACTERS_MAX, parse_line

Wanted = TypeVar("Wanted", bound=BaseModel)

_SENTENCES: Final = {
    "string_too_short": "Required.",
    "missing": "Required.",
    "too_short": "Choose at least one.",
    "string_pattern_mismatch": "Contains a character that cannot be displayed.",
    "enum": "Not one of the options.",
    "literal_error": "Not one of the options.",
}


@dataclass(frozen=True)
class Form:
    """Values by name of the field; problems by the same names, or '' for the form as a whole."""

    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str:
        return next(iter(self.values.get(name, ())), "")

    def has(self, name: str, value: str) -> bool:
        return value in self.values.get(name, ())

    @property
    def status(self) -> HTTPStatus:
        """What the page answers that shows the form."""
        return HTTPStatus.UNPROCESSABLE_ENTITY if self.problems else HTTPStatus.OK

    def with_problems(self, problems: Mapping[str, str]) -> "Form":
        return Form(self.values, problems)

    def with_problem(self, name: str, sentence: str) -> "Form":
        """Add a problem of one field, or of '' for the form as a whole."""
        return Form(self.values, {**self.problems, name: sentence})


async def read_form(request: web.Request) -> Form:
    posted = await request.post()
    names = set(posted) - {"csrf_token"}
    return Form(
        {name: [value for value in posted.getall(name) if isinstance(value, str)] for name in sorted(names)}
    )


def read_reason(form: Form) -> tuple[str, Form]:
    """Return why something is done, and the form with what is wrong with that."""
    return read_line(form, "reason", characters_max=REASON_CHARACTERS_MAX)


def read_line(form: Form, name: str, *, characters_max: int) -> tuple[str, Form]:
    """Return the field's single line, and the form with the field's problem if it has one."""
    text = form.value(name).strip()
    try:
        return parse_line(text, characters_max=characters_max), form
    except ValueError:
        problem = f"Use one line of at most {characters_max} characters." if text else "Required."
        return text, form.with_problem(name, problem)


def checked(model: type[Wanted], values: Mapping[str, object]) -> tuple[Wanted | None, dict[str, str]]:
    """Return what the values mean, or what is wrong with them by field."""
    try:
        return model.model_validate(values), {}
    except ValidationError as error:
        return None, {
            str(problem["loc"][0]) if problem["loc"] else "": _sentence(dict(problem))
            for problem in reversed(error.errors(include_url=False, include_input=False))
        }


def _sentence(problem: Mapping[str, object]) -> str:
    kind = str(problem["type"])
    if kind.startswith(("datetime", "timezone", "value_error")):
        return "Enter a date and time, like 2030-01-31 22:00."
    return _SENTENCES.get(kind, f"{problem['msg']}.")
