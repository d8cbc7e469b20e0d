"""What a line of the log looks like, and what never stands in one."""

import json
import logging
from collections.abc import Iterator
from typing import NoReturn

import pytest
import structlog

from containerstacks_shared.core.log import configure_logging


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_an_event_is_one_json_object_with_its_fields(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json", service="tests")
    structlog.get_logger("a.module").info("run.finished", instances=7)
    structlog.get_logger("a.module").debug("run.detail")
    line = json.loads(capfd.readouterr().err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "run.finished",
        "instances": 7,
        "level": "info",
        "logger": "a.module",
        "service": "tests",
    }


def test_lines_of_libraries_look_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json", service="tests")
    logging.getLogger("a.library").warning("something %s", "odd")
    line = json.loads(capfd.readouterr().err)
    assert (line["event"], line["logger"], line["service"]) == ("something odd", "a.library", "tests")


def _fail(message: str) -> NoReturn:
    raise ValueError(message)


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_password_never_stands_in_a_line(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", form, service="tests")
    log = structlog.get_logger("a.module")
    try:
        _fail("cannot reach postgresql://user:sesame@database/fleet")
    except ValueError:
        log.exception("it.failed", url="redis://:sesame@cache:6379/0")
    written = capfd.readouterr().err
    assert "sesame" not in written
    assert "postgresql://user:***@database/fleet" in written


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_value_cannot_forge_a_line(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", form, service="tests")
    structlog.get_logger("a.module").info("login.refused", email="x\n2026-11-23 [info] login.accepted")
    assert capfd.readouterr().err.count("\n") == 1
