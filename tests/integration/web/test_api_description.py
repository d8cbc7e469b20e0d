"""The whole API against its own description, with what a machine thinks of: as anybody, a user, an administrator."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from containerstacks_shared.core.settings import RateLimit
from containerstacks_shared.database.db import Connection
from containerstacks_web.http import request_limits
from support import web_site
from support.examples import examples
from support.web_site import OpenSite

Operation = APIOperation[Any, Any, Any, Any]

# Of each operation, as described and as not.
CASES: Final = 6
CASES_TOTAL_MIN: Final = 1_500
ROLES: Final = ("anonymous", "user", "auditor", "billing", "admin")


@pytest.fixture(scope="module")
def cases() -> list[Case[Any]]:
    """What the machine thinks of, once for every role: to think of it takes longer than to send it."""
    found: list[Case[Any]] = []
    for operation in _operations(web_site.api_description()):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.POSITIVE or _can_be_wrong(operation):
                found += _cases(operation, mode)
    return found


def _cases(operation: Operation, mode: GenerationMode) -> list[Case[Any]]:
    found: list[Case[Any]] = []

    @hypothesis_settings(examples(CASES), phases=[Phase.explicit, Phase.generate])
    @given(case=operation.as_strategy(generation_mode=mode))
    def keep(case: Case[Any]) -> None:
        found.append(case)

    keep()
    return found


def send(cases: list[Case[Any]], base_url: str, headers: dict[str, str]) -> Counter[int]:
    """Send each with every check that there is, and count the answers by their status."""
    with requests.Session() as session:
        return Counter(
            case.call_and_validate(base_url=base_url, session=session, headers=headers).status_code
            for case in cases
        )


# That a moment has to be in the future is nothing that a schema can say.
_CONFIGURATION: Final = {
    "operations": [
        {
            "include-name": "POST /api/keys",
            "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "422"]}},
        }
    ]
}


def _operations(description: dict[str, Any]) -> Iterator[Operation]:
    config = SchemathesisConfig.from_dict(_CONFIGURATION)
    for found in schemathesis.openapi.from_dict(description, config=config).get_all_operations():
        assert isinstance(found, Ok)
        yield found.ok()


def _can_be_wrong(operation: Operation) -> bool:
    # A preflight is answered for any path.
    return operation.method != "options" and bool(
        operation.query or operation.path_parameters or operation.body
    )


@pytest.mark.hypothesis
@pytest.mark.parametrize("role", ROLES)
async def test_every_answer_is_as_described(
    open_site: OpenSite,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    cases: list[Case[Any]],
    role: str,
) -> None:
    endless = "100000000/minute"
    # The checks try many invalid credentials, too.
    monkeypatch.setattr(request_limits, "INVALID_CREDENTIALS", RateLimit.parse(endless))
    site = await open_site(
        rate_limit_public=endless,
        rate_limit_anonymous=endless,
        rate_limit_user=endless,
        rate_limit_admin=endless,
    )
    headers: dict[str, str] = {}
    if role != "anonymous":
        # Either way of showing a key, so that what the machine thinks of as a credential does not stand in for it.
        key = await web_site.add_api_key(connection, role=role)
        headers |= {"X-API-Key": key, "Authorization": f"Bearer {key}"}
    # In a thread: the server answers on this one.
    answers = await asyncio.to_thread(send, cases, str(site.client.make_url("")).rstrip("/"), headers)
    print(f"{role}: {len(cases)} cases, {dict(sorted(answers.items()))}")  # noqa: T201
    assert answers.total() * len(ROLES) >= CASES_TOTAL_MIN
    assert not [status for status in answers if status >= 500]
