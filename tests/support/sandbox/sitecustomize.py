"""Put on a service's PYTHONPATH: denies it the system calls that its unit denies it, as systemd would.

Where no systemd runs, libseccomp, which systemd uses too, makes the same filters. `SANDBOX_SYSCALLS` are the calls
that are allowed, `SANDBOX_FAMILIES` the kinds of sockets; memory is never writable and executable.
"""

import ctypes
import errno
import mmap
import os
import socket

ALLOW = 0x7FFF0000
REFUSE = 0x00050000
UNKNOWN = -1
EQUAL, MASKED_EQUAL = 4, 7
FAMILIES_END = 64


class Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
seccomp.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.POINTER(Comparison),
]


class Filter:
    def __init__(self, otherwise: int) -> None:
        self._context = seccomp.seccomp_init(ctypes.c_uint32(otherwise))

    def add(self, action: int, call: str, *comparisons: Comparison) -> None:
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number == UNKNOWN:
            return
        array = (Comparison * len(comparisons))(*comparisons)
        # A call of another architecture has a number, and no rule.
        if seccomp.seccomp_rule_add_array(self._context, action, number, len(comparisons), array) != 0:
            assert not comparisons, call

    def load(self) -> None:
        if seccomp.seccomp_load(self._context) != 0:
            raise OSError("The filter was not accepted.")


def deny_families(allowed: set[int]) -> None:
    filter_ = Filter(ALLOW)
    for family in set(range(FAMILIES_END)) - allowed:
        filter_.add(REFUSE | errno.EAFNOSUPPORT, "socket", Comparison(0, EQUAL, family, 0))
    filter_.load()


def deny_writable_code() -> None:
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    filter_ = Filter(ALLOW)
    filter_.add(REFUSE | errno.EPERM, "mmap", Comparison(2, MASKED_EQUAL, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        filter_.add(REFUSE | errno.EPERM, call, Comparison(2, MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC))
    filter_.load()


def deny_calls(allowed: set[str]) -> None:
    filter_ = Filter(REFUSE | errno.EPERM)
    for call in allowed:
        filter_.add(ALLOW, call)
    filter_.load()


deny_families({getattr(socket, name) for name in os.environ["SANDBOX_FAMILIES"].split()})
deny_writable_code()
# Last: making filters is no call of a service.
deny_calls(set(os.environ["SANDBOX_SYSCALLS"].split()))
