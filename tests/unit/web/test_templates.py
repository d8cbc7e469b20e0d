"""Templates are read when the process starts, and never again."""

import jinja2
import pytest
from aiohttp import web

from containerstacks_web.rendering.assets import Assets
from containerstacks_web.rendering.brand import Brand
from containerstacks_web.rendering.templates import setup_templates


def test_an_upgrade_of_the_files_changes_no_page_of_a_running_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = setup_templates(web.Application(), Assets({}), Brand({}))

    def read_later(*_: object) -> None:
        raise AssertionError("a template is read while pages are served")

    monkeypatch.setattr(jinja2.PackageLoader, "get_source", read_later)
    assert environment.loader is not None
    for name in ("status.html", *environment.list_templates()):
        text, _, is_up_to_date = environment.loader.get_source(environment, name)
        assert text
        assert is_up_to_date is not None
        assert is_up_to_date()
