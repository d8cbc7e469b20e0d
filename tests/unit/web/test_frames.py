"""Frames of the server as RFC 6455 has them."""

import pytest

from containerstacks_web.live.frames import text_frame


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_message_is_one_whole_text_frame(length: int, header: bytes) -> None:
    assert text_frame(b"x" * length) == header + b"x" * length
