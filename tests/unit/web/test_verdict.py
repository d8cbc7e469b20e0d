"""One line for the platform: the first rule that applies decides."""

from typing import Any

import pytest

from containerstacks_web.live.freshness import Freshness
from containerstacks_web.pages.verdict import RULES, Equals, Otherwise, Verdict, as_case, decide, look_up
from support import verdict_cases


@pytest.mark.parametrize(
    ("facts", "verdict", "headline"),
    [pytest.param(*case[1:], id=case[0]) for case in verdict_cases.CASES],
)
def test_the_first_rule_that_applies_decides(facts: dict[str, Any], verdict: Verdict, headline: str) -> None:
    rule = decide(facts)
    assert (rule.verdict, rule.headline_for(facts)) == (verdict, headline)


def test_every_rule_decides_some_case() -> None:
    assert {decide(facts) for _, facts, *_ in verdict_cases.CASES} == set(RULES)


def test_something_always_applies() -> None:
    assert isinstance(RULES[-1].condition, Otherwise)
    assert decide({}).verdict is Verdict.OK


def test_whether_anything_can_be_known_is_asked_first() -> None:
    assert [rule.condition for rule in RULES[:2]] == [
        Equals("freshness", "unknown"),
        Equals("freshness", "stale"),
    ]


@pytest.mark.parametrize(
    ("age_seconds", "freshness"),
    [
        (None, Freshness.UNKNOWN),
        (0.0, Freshness.FRESH),
        (10.0, Freshness.FRESH),
        (10.1, Freshness.STALE),
        (86_400.0, Freshness.STALE),
    ],
)
def test_figures_are_fresh_for_ten_seconds(age_seconds: float | None, freshness: Freshness) -> None:
    assert Freshness.of(age_seconds) is freshness


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b", 1), ("a", {"b": 1}), ("a.b.c", None), ("x", None), ("a.x.y", None)],
)
def test_a_path_that_leads_nowhere_is_no_value(path: str, value: object) -> None:
    assert look_up({"a": {"b": 1}}, path) == value


@pytest.mark.parametrize(
    ("value", "case"), [(None, ""), (True, "true"), (False, "false"), (0, "0"), ("daemon", "daemon")]
)
def test_attributes_spell_values_as_javascript_does(value: object, case: str) -> None:
    assert as_case(value) == case
