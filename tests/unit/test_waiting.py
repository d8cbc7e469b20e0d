"""Waiting that has more than one end."""

import asyncio
import gc

import pytest

from containerstacks_shared.waiting import first_of


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
