"""Freezing: processes stand still, keep their sockets open, and do not know of it afterwards."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals


@contextlib.contextmanager
def frozen(*process_ids: int) -> Iterator[None]:
    """Stop them, in this order, for the length of a block. One that ends meanwhile has ended."""
    try:
        for process_id in process_ids:
            _signal(process_id, SIGSTOP)
        yield
    finally:
        for process_id in process_ids:
            _signal(process_id, SIGCONT)


@contextlib.contextmanager
def frozen_server(postmaster: int) -> Iterator[None]:
    """Stop all processes of a server: connections stay open, the kernel accepts new ones, and none is answered."""
    # The postmaster first, so that it makes no more of them.
    with frozen(postmaster), frozen(*_children(postmaster)):
        yield


def parent_of(process_id: int) -> int:
    """Return the parent: of a backend, the postmaster."""
    # The name before it may hold spaces.
    return int(Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[1])


def _children(process_id: int) -> list[int]:
    return [
        int(child) for child in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    ]


def _signal(process_id: int, number: Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, number)
