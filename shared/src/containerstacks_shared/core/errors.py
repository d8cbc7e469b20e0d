"""The one tree of errors that this project raises on purpose.

ContainerStacksError          the message is one line, fit for an operator
├── ConfigurationError        a setting is wrong; names the variable
├── CannotListen              the address or port of a process is unavailable
├── DatabaseUnavailable       not reachable now; may come back by itself
│   └── DatabaseSlow          a limit of ours passed first; names it
├── DatabaseUnsuitable        reachable, but an operator has to change it first
├── LeadershipLost            another process holds a newer term of the role
├── BillingPaused             an operator (or an adoption) paused all billing
├── BillingBusy               another run held the run lock for too long
├── NotFound                  what the caller named does not exist
└── ChangeRefused             what is asked for does not fit what is there
"""


class ContainerStacksError(Exception):
    """The root. Its message is one line that an operator can act on, and never holds a secret."""


class ConfigurationError(ContainerStacksError):
    """A setting is wrong. The message names the variable, the problem and the expected form."""


class CannotListen(ContainerStacksError):  # noqa: N818 - named by what is the case, like its siblings
    """The address that a process should listen on is in use, forbidden, or not of this machine."""


class DatabaseUnavailable(ContainerStacksError):  # noqa: N818
    """The database cannot be reached now; trying again later may help."""


class DatabaseSlow(DatabaseUnavailable):
    """A limit in time passed before the database had answered. The message names the limit; anybody may read it."""


class DatabaseUnsuitable(ContainerStacksError):  # noqa: N818
    """The database can be reached, but must not be used as it is; only an operator can change that."""


class LeadershipLost(ContainerStacksError):  # noqa: N818
    """Another process took the role since; whatever this one was about to write must not be written."""


class BillingPaused(ContainerStacksError):  # noqa: N818
    """Billing is paused; the message says why."""


class BillingBusy(ContainerStacksError):  # noqa: N818
    """Another billing run kept the run lock for longer than the caller was willing to wait."""


class NotFound(ContainerStacksError):  # noqa: N818
    """What the caller named does not exist."""


class ChangeRefused(ContainerStacksError):  # noqa: N818
    """What is asked for does not fit what is there; the message says why."""


def describe(error: BaseException) -> str:
    """Return its message, or its name where it has none: a `TimeoutError`, for instance."""
    return str(error) or type(error).__name__


def as_sentence(error: BaseException) -> str:
    """Return its message as people are shown it."""
    text = describe(error)
    return f"{text[:1].upper()}{text[1:]}."
