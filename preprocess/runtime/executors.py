"""The executors by name, for `--executor`: `local`, `inline`, `ray`, those registered, and `module:factory`.

register_executor("cluster", make_cluster_executor)      # then RunOptions(executor="cluster")
python -m preprocess encode … --executor my_package.cluster:make_cluster_executor
"""

from __future__ import annotations

import importlib
import importlib.util
import operator
import os
from collections.abc import Callable

from preprocess.errors import UnknownNameError, UserError
from preprocess.runtime.inline import InlineExecutor
from preprocess.runtime.local import LocalExecutor
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Executor

ExecutorFactory = Callable[[RunOptions, tuple[str, ...]], Executor]
"""Makes an executor from the run options and the modules that its workers should have imported."""


_LOST_ACTOR = r"^A worker died or was killed while executing a task"
"""What Ray prints at length of an actor that is lost, whose tasks are run again."""


def _ray(options: RunOptions, preload: tuple[str, ...] = ()) -> Executor:
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", _LOST_ACTOR)  # Ray reads it when it is imported
    from preprocess.runtime.ray_cluster import RayExecutor

    return RayExecutor.from_options(options, preload)


_FACTORIES: dict[str, ExecutorFactory] = {
    "local": LocalExecutor.from_options,
    "inline": InlineExecutor.from_options,
    "ray": _ray,
}


def register_executor(name: str, factory: ExecutorFactory) -> ExecutorFactory | None:
    """Makes an executor available under a name; returns what the name stood for before."""
    before = _FACTORIES.get(name)
    _FACTORIES[name] = factory
    return before


def find_executor(name: str) -> ExecutorFactory:
    """The factory of a registered name, or of `module:attribute`.

    Raises:
        UnknownNameError: No executor has this name.
        UserError: The module cannot be imported, or lacks the attribute.
    """
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise UserError(
            "executor 'ray' needs Ray, which is not installed",
            "Run pip install -r requirements-ray.txt, or install video-embedding-datasets[ray].",
        )
    if name in _FACTORIES:
        return _FACTORIES[name]
    module, colon, path = name.partition(":")
    if not colon:
        raise UnknownNameError("executor", name, _FACTORIES)
    try:
        factory: ExecutorFactory = operator.attrgetter(path)(importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"executor {name!r} cannot be loaded ({error})", "Use local, inline, ray, or module:factory on PYTHONPATH."
        ) from error
    return factory


def make_executor(options: RunOptions, preload: tuple[str, ...] = ()) -> Executor:
    """The executor that the options name.

    Args:
        options: Workers, limits, and the name.
        preload: Modules that its workers should have imported. The local executor begins to import them right away, in
            the background; so this may be called early, while this process still prepares the work.

    Raises:
        UserError: As `find_executor`.
    """
    return find_executor(options.executor)(options, preload)
