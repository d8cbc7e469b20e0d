"""How long a refused visitor is shown to wait."""

import pytest

from containerstacks_web.http.rate_limiting import _whole_seconds


@pytest.mark.parametrize(("rest", "shown"), [(900.0000001, 900), (899.2, 900), (0.3, 1), (0.0, 1), (-0.5, 1)])
def test_a_wait_is_in_whole_seconds_and_never_longer_than_the_window(rest: float, shown: int) -> None:
    assert _whole_seconds(rest) == shown
