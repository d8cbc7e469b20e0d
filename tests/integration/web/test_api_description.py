"""The whole API against its own description, with what a machine thinks of: as anybody, a user, an administrator."""

import asyncio
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


class Trial:
    """Sends cases of one role, and counts them."""

    def __init__(self, base_url: str, headers: dict[str, str]) -> None:
        self._base_url = base_url
        self._headers = headers
        self._session = requests.Session()
        self.cases = 0
        self.answers: dict[int, int] = {}

    def run(self, description: dict[str, Any]) -> None:
        with self._session:
            for operation in _operations(description):
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    if mode is GenerationMode.POSITIVE or _can_be_wrong(operation):
                        self._try(operation, mode)

    def _try(self, operation: Operation, mode: GenerationMode) -> None:
        @hypothesis_settings(examples(CASES), phases=[Phase.explicit, Phase.generate])
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case: Case[Any]) -> None:
            self.cases += 1
            # With every check that there is.
            answer = case.call_and_validate(
                base_url=self._base_url, session=self._session, headers=self._headers
            )
            self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1

        holds()


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
    open_site: OpenSite, connection: Connection, monkeypatch: pytest.MonkeyPatch, role: str
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
    trial = Trial(str(site.client.make_url("")).rstrip("/"), headers)
    # In a thread: the server answers on this one.
    await asyncio.to_thread(trial.run, web_site.api_description())
    print(f"{role}: {trial.cases} cases, {dict(sorted(trial.answers.items()))}")  # noqa: T201
    assert trial.cases * len(ROLES) >= CASES_TOTAL_MIN
    assert not [status for status in trial.answers if status >= 500]
