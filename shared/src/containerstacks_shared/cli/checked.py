"""Validates command line input: by the models of the API, and by functions that raise `ValueError`."""

from collections.abc import Callable
from typing import TypeVar

import typer
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


def checked(model: type[Model], **values: object) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}".removeprefix(": ")
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise typer.BadParameter("; ".join(problems)) from None


def parser(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Return what an option is read by: the message of a `ValueError` is the message to the user."""

    def read(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return read
