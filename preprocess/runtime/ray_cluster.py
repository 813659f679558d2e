"""Runs tasks on a Ray cluster: an actor is a machine, or its share per GPU, and starts workers of its own there.

    for report in RayExecutor.from_options(RunOptions(executor="ray")).run(tasks, fn, on_loss): ...

Without RAY_ADDRESS, Ray is started on this machine for as long as this process lives; with it, the cluster there is
used. Raw data and output are then on a file system that all machines have under the same path, or in an object store.

A machine may come, go or be lost at any time. What it had not reported is handed to another one: tasks are idempotent,
since files appear completely or not at all, and the same task gives the same bytes.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from preprocess import interrupts, temporary
from preprocess.errors import UserError
from preprocess.runtime.machine import grant
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Machine, R, T, Watch, WorkerError, WorkerFailure
from preprocess.runtime.worker import portable
from preprocess.versions import all_versions, difference

_LOOK_S = 1.0  # how often the machines of the cluster are looked at
_QUEUE = 2  # tasks an actor holds: the one it works on and the next, so that it never waits for this process
_MAX_FAILED_STARTS = 3  # in a row: actors that end before they have begun
_ALONE_S = 120.0  # how long a cluster may be without any machine for the work before the run ends


@dataclass(frozen=True, slots=True)
class _Shape:
    """What an actor takes of a machine: cores, GPUs, bytes of memory."""

    cpus: int
    gpus: int
    memory: int

    @classmethod
    def on(cls, resources: dict[str, float], options: RunOptions) -> _Shape | None:
        """An actor on a machine with these resources; None where none fits."""
        cpus, gpus, memory = (int(resources.get(name, 0)) for name in ("CPU", "GPU", "memory"))
        wanted = options.gpus_per_actor or 0
        share = cpus if not wanted else cpus // max(1, gpus // wanted)
        taken = options.cpus_per_actor or share
        if not 1 <= taken <= cpus or wanted > gpus:
            return None
        shape = cls(taken, wanted, options.memory_per_actor or memory * taken // cpus)
        return shape if shape.memory <= memory else None

    def count(self, resources: dict[str, float]) -> int:
        """How many of them fit on a machine."""
        takes = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}
        return min(int(resources[name]) // taken for name, taken in takes.items() if taken)


@dataclass(frozen=True, slots=True)
class RayExecutor:
    """The actors of a Ray cluster, one per machine or per GPU.

    Attributes:
        options: Cores, GPUs and memory of an actor.
    """

    options: RunOptions

    @classmethod
    def from_options(cls, options: RunOptions, preload: tuple[str, ...] = ()) -> RayExecutor:
        """Connects to the cluster, or starts one on this machine.

        Raises:
            UserError: The cluster cannot be reached, or none of its machines has what an actor takes.
        """
        _connect()
        executor = cls(options)
        if not executor._places():
            raise UserError(*_no_place(options))
        return executor

    @property
    def slots(self) -> int:
        """Actors that fit on the cluster as it is now, at least 1."""
        return max(1, sum(shape.count(node["Resources"]) for node, shape in self._places()))

    @property
    def machine(self) -> Machine:
        """The most that an actor has on the cluster as it is now."""
        shapes = [shape for _, shape in self._places()]
        gpus = max((int(node["Resources"].get("GPU", 0)) for node in _nodes()), default=0)
        return Machine(max((shape.cpus for shape in shapes), default=1), gpus, self._ask)

    def run(
        self,
        tasks: Iterable[T],
        fn: Callable[[T, Watch], Iterator[R]],
        on_loss: Callable[[T, WorkerFailure], Sequence[T]],
    ) -> Generator[R, None, None]:
        """See `preprocess.runtime.protocol.Executor.run`; a lost machine is a failure without an item to blame."""
        yield from _Run(self, iter(tasks), fn, on_loss).reports()

    def _places(self) -> list[tuple[dict[str, Any], _Shape]]:
        """The machines on which an actor fits, and what it takes there."""
        shapes = [(node, _Shape.on(node["Resources"], self.options)) for node in _nodes()]
        return [(node, shape) for node, shape in shapes if shape is not None]

    def _ask(self, fn: Callable[..., Any], *arguments: Any) -> Any:
        return ray.get(ray.remote(num_cpus=1, num_gpus=self.options.gpus_per_actor or 0)(fn).remote(*arguments))


@dataclass(slots=True, eq=False)
class _Actor(Generic[T]):
    """This process's side of one actor: where it is, and the tasks it was handed with their streams of messages."""

    node: str
    handle: Any
    starting: Any
    tasks: deque[tuple[T, Any]] = field(default_factory=deque)


class _Run(Generic[T, R]):
    """One call of `RayExecutor.run`."""

    def __init__(
        self,
        executor: RayExecutor,
        tasks: Iterator[T],
        fn: Callable[[T, Watch], Iterator[R]],
        on_loss: Callable[[T, WorkerFailure], Sequence[T]],
    ) -> None:
        self._executor = executor
        self._tasks = tasks
        self._again: deque[T] = deque()  # what was lost; goes before new tasks
        self._fn = ray.put(fn)
        self._on_loss = on_loss
        self._actors: list[_Actor[T]] = []
        self._failed_starts = 0
        self._looked = -_LOOK_S
        self._seen = time.monotonic()  # when there was a machine for the work

    def reports(self) -> Iterator[R]:
        next_task = self._next_task()
        try:
            while next_task is not None or any(actor.tasks for actor in self._actors):
                self._place_actors()
                for actor in self._ready():
                    while next_task is not None and len(actor.tasks) < _QUEUE:
                        stream = actor.handle.run.options(num_returns="streaming").remote(next_task)
                        actor.tasks.append((next_task, stream))
                        next_task = self._next_task()
                yield from self._listen()
                if next_task is None:  # something may have been lost
                    next_task = self._next_task()
        finally:
            for actor in self._actors:
                ray.kill(actor.handle)

    def _next_task(self) -> T | None:
        return self._again.popleft() if self._again else next(self._tasks, None)

    def _ready(self) -> list[_Actor[T]]:
        """The actors that run, those with the fewest tasks first."""
        ready = [actor for actor in self._actors if actor.starting is None]
        return sorted(ready, key=lambda actor: len(actor.tasks))

    def _place_actors(self) -> None:
        """Starts an actor wherever there is room for one: on machines that came, and in place of those that ended."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        places = self._executor._places()
        if places:
            self._seen = now
        elif now - self._seen > _ALONE_S:
            raise WorkerError(*_no_place(self._executor.options))
        there = Counter(actor.node for actor in self._actors)
        for node, shape in places:
            for _ in range(shape.count(node["Resources"]) - there[node["NodeID"]]):
                affinity = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                handle = _ON_MACHINE.options(
                    num_cpus=shape.cpus, num_gpus=shape.gpus, memory=shape.memory or None, scheduling_strategy=affinity
                ).remote(shape.cpus, shape.memory or None)
                # In a list, so that the function is not unpickled before the versions are known to be the same.
                starting = handle.start.remote([self._fn], str(Path.cwd()), all_versions())
                self._actors.append(_Actor(node["NodeID"], handle, starting))

    def _listen(self) -> Iterator[R]:
        """Waits for a message of any actor, for as long as the cluster need not be looked at."""
        waited: dict[Any, _Actor[T]] = {}
        for actor in self._actors:
            if actor.starting is not None:
                waited[actor.starting] = actor
            elif actor.tasks:
                waited[actor.tasks[0][1]] = actor
        if not waited:
            time.sleep(_LOOK_S)
            return
        ready, _ = ray.wait(list(waited), num_returns=len(waited), timeout=0)
        ready = ready or ray.wait(list(waited), num_returns=1, timeout=_LOOK_S)[0]
        for reference in ready:
            yield from self._take(waited[reference])

    def _take(self, actor: _Actor[T]) -> Iterator[R]:
        """Takes one message of an actor that has one."""
        try:
            if actor.starting is not None:
                problem = ray.get(actor.starting)
                actor.starting, self._failed_starts = None, 0
                if problem is not None:
                    raise problem
                return
            kind, value = ray.get(next(actor.tasks[0][1]))
        except StopIteration:
            actor.tasks.popleft()
            return
        except RayTaskError:  # a fault of this module: what `fn` raises is a message
            raise
        except RayError as error:
            self._lost(actor, str(error))
            return
        if kind == "error":
            raise value
        yield value

    def _lost(self, actor: _Actor[T], message: str) -> None:
        self._actors.remove(actor)
        ray.kill(actor.handle)
        message = " ".join(message.split())[:200]
        if actor.starting is not None:
            self._failed_starts += 1
            if self._failed_starts == _MAX_FAILED_STARTS:
                raise WorkerError(
                    f"actors end before they begin, {_MAX_FAILED_STARTS} times in a row ({message})",
                    "Check that this project is installed on all machines of the cluster, in the same version.",
                )
        if not actor.tasks:
            return
        (current, _), *waiting = actor.tasks
        failure = WorkerFailure(None, "crashed", f"an actor was lost: {message}")
        self._again.extend([*self._on_loss(current, failure), *(task for task, _ in waiting)])


class _OnMachine:
    """The actor: runs tasks one after another, in a process that may use some cores of its machine."""

    def __init__(self, cores: int, memory: int | None) -> None:
        grant(cores, memory)

    def start(self, fn: list[Any], folder: str, versions: Mapping[str, str]) -> Exception | None:
        """Prepares the process; returns what keeps it from working.

        Args:
            fn: A reference to what runs the tasks.
            folder: The working folder of the process that holds the run.
            versions: Of the libraries there.
        """
        name = f"{os.uname().nodename} (node {ray.get_runtime_context().get_node_id()[:8]})"
        if differs := difference(all_versions(), versions):
            return UserError(
                f"machine {name} of the Ray cluster has other versions than this one: {differs}",
                "Install the same versions on all machines: other ones can give other bytes.",
            )
        try:
            os.chdir(folder)
        except OSError as error:
            return UserError(
                f"{folder} cannot be used on {name} ({error.strerror})",
                "Start in a folder that all machines of the cluster have under this path, such as a shared home.",
            )
        temporary.use_own_folder()  # for its worker processes alone; removed by the next actor if this one is killed
        (self._fn,) = ray.get(fn)
        return None

    def run(self, task: Any) -> Iterator[tuple[str, Any]]:
        """Yields `("report", …)` for each report of a task, or `("error", …)` at last."""
        try:
            for report in self._fn(task, _between_items):
                yield "report", report
        except Exception as error:  # handed to the process of the run, which raises it
            yield "error", portable(error)


_ON_MACHINE: Any = ray.remote(max_restarts=0, max_task_retries=0)(_OnMachine)


def _between_items(item: str | None) -> None:
    """Items are watched by the executor of the machine."""


def _connect() -> None:
    """Connects to the cluster of RAY_ADDRESS, or starts one on this machine; does nothing where that is done.

    Raises:
        UserError: The cluster cannot be reached.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anyone
    handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    try:
        ray.init(
            address=os.environ.get("RAY_ADDRESS") or "local",
            include_dashboard=False if not os.environ.get("RAY_ADDRESS") else None,
            log_to_driver=False,
            configure_logging=False,
        )
    except (RayError, ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the Ray cluster at {os.environ.get('RAY_ADDRESS', 'this machine')} cannot be used ({error})",
            "Check RAY_ADDRESS, and set RAY_AUTH_MODE=token where the cluster has a token. Without RAY_ADDRESS, Ray is "
            "started on this machine.",
        ) from error
    finally:
        for number, handler in handlers.items():  # Ray has put its own in place
            signal.signal(number, handler)


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def _no_place(options: RunOptions) -> tuple[str, str]:
    offered = ", ".join(
        _amounts(*(int(node["Resources"].get(name, 0)) for name in ("CPU", "GPU", "memory"))) for node in _nodes()
    )
    wanted = _amounts(options.cpus_per_actor or 1, options.gpus_per_actor or 0, options.memory_per_actor or 0)
    return (
        f"no machine of the Ray cluster has {wanted} for an actor; the cluster has {offered or 'none'}",
        "Add a machine, or ask for less: --cpus-per-actor, --gpus-per-actor, --memory-per-actor.",
    )


def _amounts(cpus: int, gpus: int, memory: int) -> str:
    gigabytes = f" and {memory / 1e9:.1f} GB" if memory else ""
    return f"{cpus} CPUs and {gpus} GPUs{gigabytes}"
