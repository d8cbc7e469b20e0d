"""Ports, looked at before anything starts."""

import errno
import socket
from collections.abc import Mapping

from containerstacks_shared.core.errors import CannotListen, ConfigurationError


def assert_free(host: str, ports: Mapping[str, int]) -> None:
    """See that each variable's port can be listened on. Raises an error that names the variable."""
    names: dict[int, str] = {}
    for variable, port in ports.items():
        if port in names:
            raise ConfigurationError(
                f"{variable}: {port} is that of {names[port]} too (expected another port)"
            )
        names[port] = variable
        _try(host, variable, port)


def _try(host: str, variable: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"HOST: {host!r} is not a known name ({error.strerror})") from error
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
                probe.listen()
            except OSError as error:
                raise CannotListen(_problem(error, host, variable, port)) from error


def _problem(error: OSError, host: str, variable: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        option = ", with PORT or --port" if variable == "PORT" else ""
        return f"{variable}: {host}:{port} is in use by another process (expected a free port{option})"
    if error.errno == errno.EACCES:
        return f"{variable}: this user may not listen on {host}:{port} (expected a port above 1023)"
    return f"{variable}: cannot listen on {host}:{port}: {error.strerror}"
