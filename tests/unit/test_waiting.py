"""Waiting that has more than one end."""

import asyncio
import gc

import pytest

from containerstacks_shared.core.waiting import all_of, first_of


async def test_the_first_wait_to_end_ends_them_all() -> None:
    never = asyncio.Event()
    await first_of(never.wait(), asyncio.sleep(0))


async def test_the_first_wait_to_fail_fails_them_all() -> None:
    async def fails() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await first_of(asyncio.Event().wait(), fails())


async def test_what_a_wait_raises_when_it_is_called_off_is_not_reported_as_forgotten() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

    async def rolls_back_on_a_dead_session() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError

    await first_of(asyncio.sleep(0), rolls_back_on_a_dead_session())
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

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            called_off.set()

    async def fails() -> None:
        try:
            dict[str, str]()["what it came from"]
        except KeyError:
            raise ConnectionError("gone") from None

    with pytest.raises(ConnectionError) as failure:
        await all_of(waits(), fails())
    assert called_off.is_set()
    assert isinstance(failure.value.__context__, KeyError)
