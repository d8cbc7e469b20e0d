"""A part of a page is rendered once for each reading that it shows."""

from markupsafe import Markup

from containerstacks_web.rendering.fragment_cache import FragmentCache

PART = "parts/history.html"


def test_a_part_is_kept_for_as_long_as_it_shows_the_same_object() -> None:
    parts = FragmentCache()
    # Equal is not enough: what is equal may have been read later, and say when.
    reading, later = [1], [1]
    assert parts.find(PART, reading) is None
    parts.keep(PART, reading, Markup("<p>one"))
    assert parts.find(PART, reading) == "<p>one"
    assert parts.find(PART, later) is None
    assert parts.find(PART, reading, "7d") is None


def test_each_part_is_kept_once() -> None:
    parts = FragmentCache()
    one, two = object(), object()
    parts.keep(PART, one, Markup("<p>one"))
    parts.keep(PART, two, Markup("<p>two"))
    assert (parts.find(PART, one), parts.find(PART, two)) == (None, "<p>two")
