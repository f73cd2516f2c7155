"""The process that drives Ray for a pool.

An attempt at an assignment is one Ray task that streams happenings and then the measurement. Its
stream is dropped when its worker or node dies: a late answer has nobody left who could hear it.
"""

import asyncio
import os
import shutil
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from workers.on_ray._connection import connect, dead, store_gone
from workers.on_ray._messages import (
    Beat,
    Broken,
    Cancel,
    Close,
    FromDriver,
    Heard,
    Needs,
    Order,
    Ready,
    Setup,
    ToDriver,
)
from workers.on_ray._node import Packed, pack, work_through
from workers.on_ray._process import end_session, line_of_child
from workers.pool import Done, Lost

CANCELLED_WITHIN = 10.0  # seconds until a cancelled task that does not end is given up
_LONGEST = 300  # characters of what Ray says about a death
Send = Callable[[FromDriver], None]


def main() -> None:
    """Called in the child."""
    line = line_of_child()
    setup: Setup = line.recv()
    try:
        address = connect(setup.address, setup.local)
    except Exception as error:  # Ray has many, and what it says is shown to the operator
        traceback.print_exc()
        line.send(Broken(f"{type(error).__name__}: {error}"))
        return
    line.send(Ready(address))
    try:
        asyncio.run(_Driver(setup, line.send).serve(line))
    finally:
        ray.shutdown()
        end_session(os.getpid())
        shutil.rmtree(setup.folder, ignore_errors=True)


@ray.remote(num_returns="streaming", max_retries=0)
def _carry_out(
    assignment: bytes,
    work: bytes,
    threads: int,
    checksum: str | None,
    packed: list["ray.ObjectRef[Packed]"],
) -> Iterator[str | bytes | dict[str, Any]]:
    yield str(ray.get_runtime_context().get_node_id())
    # The reference comes in a list: Ray would fetch a bare one, needed on this node or not.
    yield from work_through(assignment, work, threads, checksum, lambda: ray.get(packed[0]))


@dataclass
class _Flight:
    """An order on its way. ``teacher``: checksum and files, for nodes that do not see them."""

    order: Order
    teacher: tuple[str | None, list[Any]]
    task: "asyncio.Task[None] | None" = None
    stream: Any = None
    attempt: "asyncio.Task[dict[str, Any]] | None" = None
    node: str | None = None  # where it runs
    node_lost: bool = False
    cancelled: bool = False


class _Driver:
    def __init__(self, setup: Setup, send: Send) -> None:
        self._setup = setup
        self._send = send
        self._waiting: deque[_Flight] = deque()
        self._flights: dict[str, _Flight] = {}
        self._slots = 0
        self._teachers: dict[object, tuple[str, list[ray.ObjectRef[Packed]]]] = {}
        self._closed = asyncio.Event()

    async def serve(self, line: Connection) -> None:
        """Until the controller says that it is enough, or is gone."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            message: ToDriver = Close()
            while True:
                try:
                    message = line.recv()
                except (EOFError, OSError):
                    message = Close()
                loop.call_soon_threadsafe(self._take, message)
                if isinstance(message, Close):
                    return

        threading.Thread(target=read, daemon=True).start()
        beats = asyncio.create_task(self._beat())
        await self._closed.wait()
        beats.cancel()

    def _take(self, message: ToDriver) -> None:
        match message:
            case Order():
                self._queue(message)
            case Cancel(ticket):
                self._cancel(ticket)
            case Close():
                self._closed.set()
            case Setup():
                raise AssertionError("a driver is set up once")

    def _queue(self, order: Order) -> None:
        try:
            self._waiting.append(_Flight(order, self._teacher(order.teacher)))
        except OSError as error:
            self._send(Lost(order.ticket, f"the teacher cannot be read: {error}"))
        self._fill()

    async def _beat(self) -> None:
        """Say how many candidates fit, as long as Ray answers; silence is noticed elsewhere."""
        context = ray.get_runtime_context()
        node, store = context.get_node_id(), str(context.gcs_address)
        ours = self._setup.address is None  # that of a cluster may come back
        while True:
            if ours and (problem := await asyncio.to_thread(store_gone, store)):
                self._send(Broken(problem))
                return
            try:
                nodes = await asyncio.to_thread(ray.nodes)
            except RayError:
                traceback.print_exc()
            else:
                if problem := dead(nodes, node):
                    self._send(Broken(problem))
                    return
                self._give_up_on({n["NodeID"] for n in nodes if not n["Alive"]})
                self._slots = _fitting(nodes, self._setup.needs)
                self._send(Beat(self._slots))
                self._fill()
            await asyncio.sleep(self._setup.beat_every)

    def _give_up_on(self, dead: set[str]) -> None:
        """Ray itself waits minutes for the answer of a machine that was switched off."""
        for flight in self._flights.values():
            if flight.node in dead and flight.attempt is not None:
                flight.node_lost = True
                flight.attempt.cancel()

    def _fill(self) -> None:
        """Give Ray what can run now and a little more, so that no worker waits for us."""
        limit = self._slots + max(1, self._slots // 8)
        if self._setup.max_in_flight is not None:
            limit = min(limit, self._setup.max_in_flight)
        while self._waiting and len(self._flights) < limit:
            flight = self._waiting.popleft()
            self._flights[flight.order.ticket] = flight
            flight.task = asyncio.create_task(self._fly(flight))

    def _cancel(self, ticket: str) -> None:
        for waiting in [flight for flight in self._waiting if flight.order.ticket == ticket]:
            self._waiting.remove(waiting)
            self._send(Lost(ticket, "cancelled before it began", cancelled=True))
        flight = self._flights.get(ticket)
        if flight is None or flight.cancelled:
            return
        flight.cancelled = True
        assert flight.task is not None
        asyncio.get_running_loop().call_later(CANCELLED_WITHIN, flight.task.cancel)
        self._insist(flight)

    def _insist(self, flight: _Flight) -> None:
        """Ray forgets a cancellation that reaches the worker before the task does."""
        assert flight.task is not None
        if not flight.task.done():
            asyncio.get_running_loop().call_later(1.0, self._insist, flight)
            if flight.stream is not None:
                ray.cancel(flight.stream, force=True)

    async def _fly(self, flight: _Flight) -> None:
        try:
            answer = await self._answer(flight)
        except asyncio.CancelledError:
            if self._closed.is_set():
                raise
            answer = Lost(flight.order.ticket, "cancelled; its worker is silent", cancelled=True)
        except Exception as error:  # whatever it is: nobody waits for an answer that cannot come
            traceback.print_exc()
            answer = Lost(flight.order.ticket, f"cannot be given to Ray: {error!r}")
        del self._flights[flight.order.ticket]
        self._send(answer)
        self._fill()

    async def _answer(self, flight: _Flight) -> Done | Lost:
        ticket, reason = flight.order.ticket, ""
        attempts = self._setup.retries + 1
        for _ in range(attempts):
            if flight.cancelled:
                break
            flight.attempt = asyncio.create_task(self._attempt(flight))
            try:
                return Done(ticket, await flight.attempt)
            except RayTaskError as error:  # of what leads to the work: it would come again
                return Lost(ticket, f"the worker cannot begin: {error.cause!r}")
            except (RayError, OSError) as error:
                reason = " ".join(f"{type(error).__name__} {error}".split())[:_LONGEST]
            except asyncio.CancelledError:
                if not flight.node_lost or flight.cancelled:
                    raise
                reason = f"its node {flight.node} is dead"
        if flight.cancelled:
            return Lost(ticket, "cancelled", cancelled=True)
        return Lost(ticket, f"its worker died {attempts} times; the last time: {reason}")

    async def _attempt(self, flight: _Flight) -> dict[str, Any]:
        setup, order = self._setup, flight.order
        flight.node, flight.node_lost = None, False
        flight.stream = _carry_out.options(
            name=f"paretrack {order.ticket}",
            num_cpus=setup.needs.cpus,
            num_gpus=setup.needs.gpus,
            resources=dict(setup.needs.resources) or None,
        ).remote(order.assignment, setup.work, setup.threads, *flight.teacher)
        async for item in flight.stream:
            match told := await item:
                case str():
                    flight.node = told
                case bytes():
                    self._send(Heard(order.ticket, told))
                case _:
                    return dict(told)
        raise RayError("the worker ended without an answer")

    def _teacher(self, files: tuple[Path, ...]) -> tuple[str | None, list[Any]]:
        """Its checksum and its files, put into the object store once."""
        if self._setup.address is None or not all(path.is_file() for path in files):
            return None, []
        stamp = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
        if stamp not in self._teachers:
            checksum, packed = pack(files)
            self._teachers[stamp] = checksum, [ray.put(packed)]
        return self._teachers[stamp]


def _fitting(nodes: list[dict[str, Any]], needs: Needs) -> int:
    """How many candidates the living nodes hold at once; none is spread over two."""
    wanted = {"CPU": needs.cpus, "GPU": needs.gpus, **needs.resources}
    wanted = {name: amount for name, amount in wanted.items() if amount > 0}
    return sum(
        min(int(node["Resources"].get(name, 0) / amount + 1e-9) for name, amount in wanted.items())
        for node in nodes
        if node["Alive"]
    )
