"""Every moment that the API takes or tells is described as one, so that generated clients know it for a date."""

import json
import re
from collections.abc import Iterator
from typing import Any

from support.web_site import api_description

MOMENT = re.compile(r"(At|Run|Hour|AsOf|From|^timestamp|^lastUpdated)$")
# A number of instances, and who started it.
NO_MOMENT = {"lastRunBy"}


def properties(document: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(document, dict):
        yield from document.get("properties", {}).items()
        for value in document.values():
            yield from properties(value)
    elif isinstance(document, list):
        for value in document:
            yield from properties(value)


def test_every_moment_in_the_description_is_a_date_time() -> None:
    moments = [
        (name, schema)
        for name, schema in properties(api_description())
        if MOMENT.search(name) and name not in NO_MOMENT
    ]
    assert len(moments) > 30
    assert [name for name, schema in moments if '"date-time"' not in json.dumps(schema)] == []
