"""Binds the addresses of a process, and says what is wrong with one in terms of the settings."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from containerstacks_shared.core.errors import CannotListen

BACKLOG: Final = 1024


@contextmanager
def bound(host: str, port: int, *, variable: str) -> Iterator[list[socket.socket]]:
    """Listen on each address that `host` names until the block ends.

    Raises `CannotListen` that names the setting: `variable` is the port's.
    """
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in _resolve(host, port):
            try:
                sockets.append(_bind(family, address))
            except OSError as error:
                # `localhost` may name an IPv6 address on a machine without IPv6.
                if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    raise CannotListen(_problem(error, host, port, variable)) from error
                absent = error
        if absent is not None and not sockets:
            raise CannotListen(_problem(absent, host, port, variable)) from absent
        yield sockets
    finally:
        for each in sockets:
            each.close()


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(
            f"HOST: {host!r} is not a known name ({error.strerror})"
            " (expected an address or name of this machine)"
        ) from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bind(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            # There it would let two processes share the port.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        # Listening claims the port; requests are answered once the application has started.
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _problem(error: OSError, host: str, port: int, variable: str) -> str:
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{variable}: {where} is in use by another process (expected a free port)"
    if error.errno == errno.EACCES:
        return f"{variable}: this user may not listen on {where} (expected a port above 1023)"
    if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
        return f"HOST: {host!r} is not an address of this machine (expected one that is)"
    return f"{variable}: cannot listen on {where}: {error.strerror}"
