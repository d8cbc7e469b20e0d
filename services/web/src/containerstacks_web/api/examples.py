"""How an endpoint is called, by curl and by Python, and what it answers: as the API's page and description show it."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from yarl import URL

from .operation import Operation

# What the examples presuppose, at the top of the page.
SHELL_SETUP: Final = """\
SITE={site}
KEY=sk_live_…"""
PYTHON_SETUP: Final = """\
import json
from urllib.request import Request, urlopen

SITE = "{site}"
KEY = "sk_live_…"


def call(method, path, document=None):
    request = Request(SITE + path, method=method)
    request.add_header("Authorization", f"Bearer {{KEY}}")
    if document is not None:
        request.data = json.dumps(document).encode()
        request.add_header("Content-Type", "application/json")
    with urlopen(request, timeout=10) as answer:
        return answer.read().decode()"""


@cache
def example_answers() -> Mapping[str, Any]:
    """Return an answer of each operation that has a body, by the operation's id. A test holds them to real answers."""
    answers: Mapping[str, Any] = json.loads(
        resources.files(__package__).joinpath("answers.json").read_text("utf-8")
    )
    return answers


def example_path(path: str, operation: Operation) -> str:
    """Fill an address with its examples."""
    query = {}
    for parameter in operation.parameters:
        if parameter.place == "path":
            path = path.replace(f"{{{parameter.name}}}", str(parameter.example))
        elif parameter.example is not None:
            query[parameter.name] = str(parameter.example)
    return str(URL.build(path=path, query=query))


def curl_call(method: str, path: str, operation: Operation) -> str:
    words = ["curl"]
    if method.upper() not in {"GET", "POST"}:
        words.append(f"-X {method.upper()}")
    if not operation.is_for_all:
        words.append('-H "Authorization: Bearer $KEY"')
    words.append(f'"$SITE{example_path(path, operation)}"')
    call = " ".join(words)
    if operation.sent is None:
        return call
    return f"{call} \\\n  --json '{json.dumps(operation.sent)}'"


def python_call(method: str, path: str, operation: Operation) -> str:
    arguments = [json.dumps(method.upper()), json.dumps(example_path(path, operation))]
    if operation.sent is not None:
        document = json.dumps(operation.sent, indent=4)
        return f"print(call({', '.join(arguments)}, {document}))"
    return f"print(call({', '.join(arguments)}))"
