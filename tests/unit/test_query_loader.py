"""Queries by name."""

import pytest

from containerstacks_shared.core.queries import Queries, load, modules, read

TEXT = """-- What this file is about.

-- name: first
-- Why it is so.
select 1;

-- name: second
with one as (
    select ';' as semicolon
)
select semicolon
  from one;
"""


def test_queries_are_found_by_name_and_keep_their_comments() -> None:
    queries = Queries("example", TEXT)
    assert list(queries) == ["first", "second"]
    assert queries["first"] == "-- Why it is so.\nselect 1"
    assert queries["second"].endswith("  from one")


def test_an_unknown_name_is_a_key_error_that_names_the_file() -> None:
    with pytest.raises(KeyError, match=r"example\.sql has no query named 'third'"):
        Queries("example", TEXT)["third"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-- name: twice\nselect 1;\n-- name: twice\nselect 2;\n", "there twice"),
        ("-- name: empty\n\n-- name: other\nselect 1;\n", "empty"),
        ("-- name: comment\n-- Only words.\n", "empty"),
    ],
)
def test_a_broken_file_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Queries("example", text)


def test_what_two_queries_share_stands_in_both() -> None:
    shared = read("containerstacks_shared.billing", "advance_marks").rstrip()
    for file in ("charge_organizations", "move_money"):
        text = read("containerstacks_shared.billing", file)
        assert text.count(shared) == 1
        assert "include:" not in text


@pytest.mark.parametrize("module", modules())
def test_every_file_of_queries_loads(module: str) -> None:
    assert len(load(module)) > 0
