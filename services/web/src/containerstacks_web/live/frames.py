"""WebSocket frames as they go over the wire, made once for every browser."""

_FINAL_TEXT = 0x81
_LENGTH_16 = 126
_LENGTH_64 = 127


def text_frame(message: bytes) -> bytes:
    """Frame a text message of the server: whole, unmasked, uncompressed (RFC 6455, section 5.2)."""
    length = len(message)
    if length < _LENGTH_16:
        header = bytes((_FINAL_TEXT, length))
    elif length < 1 << 16:
        header = bytes((_FINAL_TEXT, _LENGTH_16)) + length.to_bytes(2, "big")
    else:
        header = bytes((_FINAL_TEXT, _LENGTH_64)) + length.to_bytes(8, "big")
    return header + message
