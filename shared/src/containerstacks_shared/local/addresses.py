"""Ports, looked at before anything starts."""

from collections.abc import Mapping

from containerstacks_shared.core.errors import ConfigurationError
from containerstacks_shared.process.addresses import bound


def assert_free(host: str, ports: Mapping[str, int]) -> None:
    """See that each variable's port can be listened on. Raises an error that names the variable."""
    names: dict[int, str] = {}
    for variable, port in ports.items():
        if port in names:
            raise ConfigurationError(
                f"{variable}: {port} is that of {names[port]} too (expected another port)"
            )
        names[port] = variable
        with bound(host, port, variable=variable):
            pass
