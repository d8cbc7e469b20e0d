"""Divides the work of a run into transactions."""

from collections.abc import Iterable, Iterator
from uuid import UUID


def by_organization(work: Iterable[tuple[UUID, int]], *, instances_max: int) -> Iterator[list[UUID]]:
    """Yield whole organizations, about `instances_max` instances at a time: an organization's hours queue together.

    `work` says how many instances each organization has.
    """
    batch: list[UUID] = []
    instances_in_batch = 0
    for organization, instances in work:
        if batch and instances_in_batch + instances > instances_max:
            yield batch
            batch, instances_in_batch = [], 0
        batch.append(organization)
        instances_in_batch += instances
    if batch:
        yield batch
