"""Waiting that has more than one end."""

import asyncio
import gc

import pytest

from containerstacks_shared.core.waiting import all_of, in_own_task, race, wait_for_event


async def _wait_for_cancelling(cancelled: asyncio.Event) -> None:
    """Wait for ever; when the wait is cancelled, set the event."""
    try:
        await asyncio.Event().wait()
    finally:
        cancelled.set()


async def test_the_first_wait_to_end_cancels_the_others() -> None:
    cancelled = asyncio.Event()
    await race(_wait_for_cancelling(cancelled), asyncio.sleep(0))
    assert cancelled.is_set()


async def test_the_first_wait_to_fail_fails_them_all() -> None:
    async def fails() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await race(asyncio.Event().wait(), fails())


async def test_what_a_wait_raises_when_it_is_called_off_is_not_reported_as_forgotten() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

    async def rolls_back_on_a_dead_session() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError

    await race(asyncio.sleep(0), rolls_back_on_a_dead_session())
    gc.collect()
    assert reported == []


async def test_work_side_by_side_ends_when_all_of_it_has() -> None:
    order: list[int] = []
    second_ran = asyncio.Event()

    async def first() -> None:
        await second_ran.wait()
        order.append(1)

    async def second() -> None:
        order.append(2)
        second_ran.set()

    await all_of(first(), second())
    assert order == [2, 1]


async def test_the_first_failure_is_raised_as_it_is_and_calls_the_rest_off() -> None:
    called_off = asyncio.Event()

    async def fails() -> None:
        try:
            dict[str, str]()["what it came from"]
        except KeyError:
            raise ConnectionError("gone") from None

    with pytest.raises(ConnectionError) as failure:
        await all_of(_wait_for_cancelling(called_off), fails())
    assert called_off.is_set()
    assert isinstance(failure.value.__context__, KeyError)


async def loses_its_session() -> None:
    # After the group has begun to wait for its tasks.
    await asyncio.sleep(0)
    raise ConnectionError


async def test_a_time_limit_still_holds_after_a_group_failed() -> None:
    async def fails_as_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(loses_its_session())

    with pytest.raises(ExceptionGroup):
        await in_own_task(fails_as_a_group())
    assert not await wait_for_event(asyncio.Event(), 0)


async def test_a_time_limit_still_holds_after_work_side_by_side_failed() -> None:
    with pytest.raises(ConnectionError):
        await all_of(asyncio.sleep(0), loses_its_session())
    assert not await wait_for_event(asyncio.Event(), 0)


async def test_work_in_a_task_of_its_own_is_cancelled_with_its_caller() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def works() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    caller = asyncio.create_task(in_own_task(works()))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert cancelled.is_set()


async def test_work_in_a_task_of_its_own_hands_back_its_result() -> None:
    async def works() -> int:
        return 7

    assert await in_own_task(works()) == 7
