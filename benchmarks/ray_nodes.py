"""How much faster 2, 3 and 4 nodes of a Ray cluster are than one, with work that sleeps.

    .venv/bin/python benchmarks/ray_nodes.py [--items 1200] [--seconds 0.2] [--cores 4]

The nodes are simulated by `ray.cluster_utils.Cluster` on this machine, and sleeping takes no core: what is measured is
the executor. The head runs no actor.

    efficiency             time of one node / (nodes · time), from the begin of the first item to the end of the last
    efficiency_when_all    of the cores, from when all of them have ended an item to the end of the last item: simulated
                           nodes start one after another, as they share the cores of this machine, and real ones do not
    efficiency_with_start  as `efficiency`, from the call of `run_items` to its end

Figures of the machine and the versions go to `results/ray_nodes.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.console import table
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task, run_items
from preprocess.samples import Split

RESULTS = Path(__file__).parent / "results" / "ray_nodes.json"


@dataclass(frozen=True, slots=True)
class Item:
    """A sample of which the key alone matters."""

    key: str
    split: Split = "train"


@dataclass(frozen=True, slots=True)
class Done:
    """Its report, by which process, and when its work ended, by the clock of this machine."""

    key: str
    worker: int
    ended: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """An encoder that sleeps."""

    seconds: float

    def __call__(self, task: Task[Item], watch: Watch) -> Iterator[Done]:
        """Yields a report for each item."""
        for item in task.items:
            watch(item.key)
            time.sleep(self.seconds)
            watch(None)
            yield Done(item.key, os.getpid(), time.monotonic())


@dataclass(frozen=True, slots=True)
class Times:
    """Of one run.

    Attributes:
        busy_s: From the begin of the first item to the end of the last.
        whole_s: From the call of `run_items` to its end.
        used: Share of the cores' time that items took, from when all cores have ended an item to the end of the last.
    """

    busy_s: float
    whole_s: float
    used: float


def times_of(nodes: int, items: int, seconds: float, cores: int) -> Times:
    """Runs so many items on so many nodes."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=cores)
        os.environ["RAY_ADDRESS"] = cluster.address
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        began = time.monotonic()
        work = [Item(f"k{number:06}") for number in range(items)]
        reports = list(run_items(work, Sleep(seconds), RunOptions(executor="ray")))
        whole_s = time.monotonic() - began
        ended = sorted(report.ended for report in reports)
        first: dict[int, float] = {}  # end of the first item of each worker
        for report in sorted(reports, key=lambda report: report.ended):
            first.setdefault(report.worker, report.ended)
        assert (len(ended), len(first)) == (items, nodes * cores)
        all_work = max(first.values())
        worked = sum(min(seconds, moment - all_work) for moment in ended if moment > all_work)
        used = worked / (nodes * cores * (ended[-1] - all_work))
        return Times(ended[-1] - ended[0] + seconds, whole_s, used)
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    """Prints one line per number of nodes, and writes the figures."""
    import ray

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1200)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--cores", type=int, default=4, help="per node")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 3, 4], help="one first")
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)  # for the nodes
    found = []
    for nodes in arguments.nodes:
        # As many items per node: a start of the same length is the same share of each run.
        times = times_of(nodes, nodes * arguments.items, arguments.seconds, arguments.cores)
        found.append({"nodes": nodes, "items": nodes * arguments.items, "used": times.used})
        found[-1] |= {"busy_s": times.busy_s, "with_start_s": times.whole_s}
    for one in found:
        one["efficiency"] = round(found[0]["busy_s"] / one["busy_s"], 4)
        one["efficiency_when_all"] = round(one["used"], 4)
        one["efficiency_with_start"] = round(found[0]["with_start_s"] / one["with_start_s"], 4)
        ideal = arguments.items * arguments.seconds / arguments.cores
        one["of_ideal"] = round(ideal / one["busy_s"], 4)
        del one["used"]
        one["busy_s"], one["with_start_s"] = round(one["busy_s"], 2), round(one["with_start_s"], 2)
    machine = {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "python": platform.python_version(),
        "ray": ray.__version__,
    }
    settings = {"items_per_node": arguments.items, "seconds": arguments.seconds, "cores_per_node": arguments.cores}
    RESULTS.write_text(
        json.dumps({"machine": machine, "simulated": True, "settings": settings, "nodes": found}, indent=2) + "\n"
    )
    rows = [tuple(str(value) for value in one.values()) for one in found]
    print(table([tuple(found[0]), *rows], frozenset(range(len(found[0])))))


if __name__ == "__main__":
    from benchmarks import ray_nodes  # what is pickled must belong to a module that actors can import

    ray_nodes.main()
