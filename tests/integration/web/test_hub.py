"""The hub by itself: whom it serves when, and how it says goodbye."""

import asyncio

from containerstacks_web.live.frames import text_frame
from containerstacks_web.live.hub import Hub
from support.waiting import time_passes


class FakeClient:
    """A connection whose buffer and end the test decides."""

    def __init__(self, number: int = 0) -> None:
        self.address_key = f"address-{number}"
        self.unsent = 0
        self.sent: list[tuple[float, bytes]] = []
        self.left_at: float | None = None
        self.served = asyncio.Event()
        self.wants_announcements = False
        self.announced: list[bytes] = []
        self.cut_off = False

    def unsent_bytes(self) -> int:
        return self.unsent

    def send(self, frame: bytes) -> None:
        self.sent.append((asyncio.get_running_loop().time(), frame))
        self.served.set()

    def send_announcement(self, frame: bytes) -> None:
        self.announced.append(frame)

    async def close_for_restart(self) -> None:
        self.left_at = asyncio.get_running_loop().time()

    def abort(self) -> None:
        self.cut_off = True


def a_hub() -> Hub:
    return Hub(clients_max=10_000, clients_per_address=10)


async def test_a_browser_that_stopped_reading_does_not_delay_the_others() -> None:
    hub = a_hub()
    full, reading = FakeClient(1), FakeClient(2)
    full.unsent = 1
    for client in (full, reading):
        hub.add(client)
    rounds = asyncio.create_task(hub.run_rounds())
    clock = asyncio.get_running_loop().time
    waits = []
    for number in range(5):
        # Longer ago than a round, so the next news may go out at once.
        await time_passes(0.07)
        published = clock()
        reading.served.clear()
        hub.publish(b"%d" % number)
        await reading.served.wait()
        waits.append(reading.sent[-1][0] - published)
    rounds.cancel()
    await asyncio.wait([rounds])
    # The best of five: a busy machine makes some of them wait, a browser with a full buffer would make all.
    assert min(waits) < 0.01
    assert full.sent == []
    assert not full.cut_off


async def test_a_message_is_framed_once_and_the_newest_wins() -> None:
    hub = a_hub()
    clients = [FakeClient(number) for number in range(3)]
    for client in clients:
        hub.add(client)
    hub.publish(b"old")
    hub.publish(b"new")
    await hub._round()
    frames = [client.sent[0][1] for client in clients]
    assert frames == [text_frame(b"new")] * 3
    assert frames[0] is frames[1] is frames[2]


async def test_a_message_published_during_a_round_reaches_every_browser() -> None:
    hub = a_hub()
    clients = [FakeClient(number) for number in range(600)]
    for client in clients:
        hub.add(client)
    clients[-1].unsent = 1
    hub.publish(b"old")
    round_of_old = asyncio.create_task(hub._round())
    await asyncio.sleep(0)
    # The round has begun, and is not over: 599 buffers have room.
    assert 0 < sum(client.served.is_set() for client in clients) < 599
    hub.publish(b"new")
    await round_of_old
    clients[-1].unsent = 0
    await hub._round()
    assert {client.sent[-1][1] for client in clients} == {text_frame(b"new")}


async def test_a_renewed_message_goes_only_to_new_connections() -> None:
    hub = a_hub()
    known, newcomer = FakeClient(1), FakeClient(2)
    hub.add(known)
    hub.publish(b"1")
    await hub._round()
    hub.renew(b"2")
    hub.add(newcomer)
    for _ in range(2):
        await hub._round()
    assert [frame for _, frame in known.sent] == [text_frame(b"1")]
    assert [frame for _, frame in newcomer.sent] == [text_frame(b"2")]


async def test_a_browser_with_a_full_send_buffer_is_disconnected_at_a_size_or_after_a_time() -> None:
    hub = a_hub()
    a_little, much, reading = (FakeClient(number) for number in range(3))
    a_little.unsent, much.unsent = 10_000, 300_000
    for client in (a_little, much, reading):
        hub.add(client)
    hub.publish(b"news")
    await hub._round()
    assert [client.cut_off for client in (a_little, much, reading)] == [False, True, False]
    # The loop's clock may stand still from one round to the next.
    hub.behind_seconds_max = -1.0
    await hub._round()
    assert [client.cut_off for client in (a_little, much, reading)] == [True, True, False]
    assert a_little.sent == much.sent == []


async def test_close_codes_are_spread_over_time() -> None:
    hub = a_hub()
    clients = [FakeClient(number) for number in range(400)]
    for client in clients:
        hub.add(client)
    await hub.close()
    moments = [client.left_at for client in clients if client.left_at is not None]
    assert len(moments) == 400
    assert 0.25 < max(moments) - min(moments) < 1.0
    busiest = max(sum(moment <= other < moment + 0.04 for other in moments) for moment in moments)
    assert busiest <= 100


async def test_a_single_browser_is_closed_at_once() -> None:
    hub = a_hub()
    client = FakeClient()
    hub.add(client)
    started = asyncio.get_running_loop().time()
    await hub.close()
    assert client.left_at is not None
    assert client.left_at - started < 0.5


async def test_announcements_go_to_subscribed_browsers_when_they_differ_and_the_buffer_has_room() -> None:
    hub = a_hub()
    usual, asking, full = (FakeClient(number) for number in range(3))
    asking.wants_announcements = full.wants_announcements = True
    full.unsent = 1
    for client in (usual, asking, full):
        hub.add(client)
    for message, is_other in ((b"first", True), (b"same", False), (b"second", True)):
        hub.announce(message, is_other=is_other)
        await hub._round()
    late = FakeClient(3)
    late.wants_announcements = True
    hub.add(late)
    full.unsent = 0
    await hub._round()
    assert asking.announced == [text_frame(b"first"), text_frame(b"second")]
    assert full.announced == late.announced == [text_frame(b"second")]
    assert usual.announced == []
    assert usual.sent == []
