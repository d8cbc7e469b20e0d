"""Answers that go out as they are: a head made once for everybody, the few lines that differ, and a body.

aiohttp makes a head anew for every answer, which costs more than all that we do for a visitor without credentials.
"""

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import HttpVersion10, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.web_request import BaseRequest


def make_head(status: HTTPStatus, headers: Mapping[str, str], *, length: int | None) -> str:
    """Write down what every answer of this kind begins with. Nothing in it comes from a visitor."""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join((*lines, ""))


class PreparedResponse(web.StreamResponse):
    """`lines` is what only this answer's head says: whole lines, each with its end."""

    def __init__(self, status: HTTPStatus, head: str, lines: str, body: bytes) -> None:
        super().__init__(status=status)
        self._head = head
        self._lines = lines
        self._answer = body
        self._stays_open = False

    @property
    def keep_alive(self) -> bool:
        """Asked for by aiohttp when everything is sent."""
        return self._stays_open

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter:
        """Send everything at once. The signal for responses that are about to be sent is not: all headers are there."""
        self._stays_open = request.keep_alive
        if not self._stays_open:
            connection = "Connection: close\r\n"
        elif request.version == HttpVersion10:
            connection = "Connection: keep-alive\r\n"
        else:
            connection = ""
        head = f"{self._head}{self._lines}Date: {rfc822_formatted_time()}\r\n{connection}\r\n"
        answer = b"" if request.method == hdrs.METH_HEAD else self._answer
        writer = request.writer
        await writer.write(head.encode("ascii") + answer)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        assert not data, "everything is sent"
