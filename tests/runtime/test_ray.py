"""The executor on Ray, on clusters of several nodes on this machine: what is lost with a worker, an actor or a node."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from preprocess.errors import UserError
from preprocess.runtime.executors import find_executor, make_executor
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Machine, Watch, WorkerError
from preprocess.runtime.runner import Task, run_items
from preprocess.samples import Reject
from tests.media_files import write_video
from tests.processes import parent
from tests.runtime.items import Item

pytest.importorskip("ray", reason="requirements-ray.txt is not installed")


@dataclass(frozen=True)
class Done:
    key: str
    actor: int
    worker: int


@dataclass(frozen=True)
class Work:
    """Notes in `folder` that an item was begun, and by which process; takes `seconds` for it."""

    folder: Path
    seconds: float = 0.0

    def __call__(self, task: Task[Item], watch: Watch) -> Iterator[Done]:
        for item in task.items:
            watch(item.key)
            with (self.folder / item.key).open("a") as log:
                print(os.getpid(), os.getppid(), file=log)
            if "crash" in item.key:
                os.kill(os.getpid(), signal.SIGKILL)
            if "fault" in item.key:
                raise UserError("no such thing", "Try another.")
            time.sleep(self.seconds)
            watch(None)
            yield Done(item.key, parent(os.getppid()), os.getpid())  # a worker's parent is its actor's fork server


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that runs nothing, and two nodes with one core each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            started.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", started.address)
        yield started
    finally:
        ray.shutdown()
        started.shutdown()


def run(folder: Path, count: int, seconds: float = 0.0, at: Callable[[int], None] = lambda number: None) -> list[Any]:
    """The reports of that many items; `at` is called with the number of each report."""
    items = [Item(f"k{number:03}") for number in range(count)]
    reports = []
    for report in run_items(items, Work(folder, seconds), RunOptions(executor="ray"), per_task=2):
        reports.append(report)
        at(len(reports))
    assert sorted(report.key for report in reports) == [item.key for item in items]
    return reports


def begun(folder: Path) -> Counter[str]:
    """How often each item was begun."""
    return Counter({path.name: len(path.read_text().splitlines()) for path in folder.iterdir()})


def test_two_nodes(cluster: Any, tmp_path: Path) -> None:
    """Both work; an item that takes its worker down twice is a Reject; all commands give the bytes of one process."""
    work = tmp_path / "work"
    work.mkdir()
    reports = run(work, 40, 0.02)
    assert len({report.actor for report in reports}) == 2
    assert len({report.worker for report in reports}) == 2, "a worker is kept for all tasks of its machine"
    assert set(begun(work).values()) == {1}

    items = [Item("a"), Item("crash"), Item("b")]
    found = {one.key: one for one in run_items(items, Work(work), RunOptions(executor="ray"))}
    crashed = found.pop("crash")
    assert isinstance(crashed, Reject)
    assert crashed.reason == "decoder_crashed"
    assert begun(work)["crash"] == 2
    assert not any(isinstance(one, Reject) for one in found.values())

    with pytest.raises(UserError, match="no such thing"):
        list(run_items([Item("fault")], Work(work), RunOptions(executor="ray")))
    with pytest.raises(UserError, match=r"has 7 CPUs and 0 GPUs .* 1 CPUs and 0 GPUs"):
        make_executor(RunOptions(executor="ray", cpus_per_actor=7))

    raw = tmp_path / "raw"
    for seed, name in enumerate(("train/cat/a", "train/dog/b", "val/cat/c", "test/dog/d", "train/dog/e")):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(raw / f"{name}.mp4", 20, seed=seed)
    (raw / "train" / "cat" / "broken.mp4").write_bytes(b"not a video")
    ray, inline = (everything(executor, raw, tmp_path) for executor in ("ray", "inline"))
    assert ray.keys() == inline.keys()
    assert [name for name in ray if ray[name] != inline[name]] == []
    assert {
        "CLIP-Folder/ds_00000.tar",
        "work/CLIP-Folder/evaluation.json",
        "work/CLIP-Folder/rejects.jsonl",
    } <= ray.keys()
    assert any(name.startswith("frames/train_cat_a") for name in ray)


def everything(executor: str, raw: Path, folder: Path) -> dict[str, bytes]:
    """What the commands that run tasks write: encode, pack, evaluate, verify, preview, frames."""
    from ved.commands import app

    out = folder / executor
    where = ("--raw", raw, "--executor", executor)
    packed = ("--model", "tiny-clip", "--per-shard", 2, "--max-reject-rate", 1, "--out", out)
    for line in (
        ("build", "folder", *where, *packed),
        ("preview", "folder", *where, "--out", out, "--samples", 1, "--allow-frames"),
        ("frames", "folder", *where, "--out", out / "frames", "--fps", 1, "--max-reject-rate", 1),
    ):
        done = CliRunner().invoke(app, [str(word) for word in line], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    named = {str(path.relative_to(out)): path for path in sorted(out.rglob("*")) if path.is_file()}
    clocked = re.compile(r"work/CLIP-Folder/(build_report\.json|options\.json|shards/.*)")
    return {name: path.read_bytes() for name, path in named.items() if not clocked.fullmatch(name)}


@pytest.mark.parametrize(
    ("resources", "options", "actors"),
    [
        ({"CPU": 32.0}, {}, [32]),
        ({"CPU": 32.0, "memory": 1e9}, {"cpus_per_actor": 8}, [8] * 4),
        ({"CPU": 32.0, "memory": 8e9}, {"cpus_per_actor": 4, "memory_per_actor": 3 * 10**9}, [4] * 2),
        ({"CPU": 32.0, "memory": 8e9}, {"memory_per_actor": 9 * 10**9}, []),
        ({"CPU": 32.0}, {"memory_per_actor": 10**9}, []),
        ({"CPU": 32.0, "GPU": 4.0}, {}, [32]),
        ({"CPU": 32.0, "GPU": 4.0}, {"gpus_per_actor": 1}, [8] * 4),
        ({"CPU": 32.0, "GPU": 4.0}, {"gpus_per_actor": 2}, [16] * 2),
        ({"CPU": 32.0, "GPU": 4.0}, {"gpus_per_actor": 1, "cpus_per_actor": 12}, [12] * 2),
        ({"CPU": 32.0, "GPU": 4.0}, {"cpus_per_actor": 5}, [5] * 6),
        ({"CPU": 32.0}, {"gpus_per_actor": 1}, []),
        ({"CPU": 2.0, "GPU": 4.0}, {"gpus_per_actor": 1}, []),
        ({"CPU": 4.0}, {"cpus_per_actor": 5}, []),
        ({"memory": 1e9}, {}, []),
    ],
)
def test_actors_of_a_machine(resources: dict[str, float], options: dict[str, int], actors: list[int]) -> None:
    """Cores of each actor that fits."""
    from preprocess.runtime.ray_cluster import _Shape

    shape = _Shape.on(resources, RunOptions(**options))  # type: ignore[arg-type]
    assert ([shape.cpus] * shape.count(resources) if shape else []) == actors


def test_the_memory_of_a_machine_is_shared_by_cores() -> None:
    from preprocess.runtime.ray_cluster import _Shape

    machine = {"CPU": 32.0, "GPU": 4.0, "memory": 64e9}
    for options, memory in (
        ({}, 64e9),
        ({"cpus_per_actor": 1}, 2e9),
        ({"gpus_per_actor": 1}, 16e9),
        ({"cpus_per_actor": 1, "memory_per_actor": 5 * 10**9}, 5e9),
    ):
        shape = _Shape.on(machine, RunOptions(**options))  # type: ignore[arg-type]
        assert shape is not None
        assert shape.memory == memory


@pytest.mark.parametrize(
    ("device", "asked", "offered", "gpus"),
    [
        ("auto", None, 4, 1),
        ("auto", 2, 4, 2),
        ("auto", 0, 4, 0),
        ("auto", None, 0, 0),
        ("cpu", 2, 4, 0),
        ("cuda", None, 4, 1),
    ],
)
def test_gpus_of_an_actor_that_encodes(device: str, asked: int | None, offered: int, gpus: int) -> None:
    from preprocess.runtime.devices import for_devices

    wanted = for_devices(RunOptions(device=device, gpus_per_actor=asked), Machine(8, offered, print))
    assert wanted.gpus_per_actor == gpus


@pytest.mark.parametrize(("asked", "offered"), [(None, 0), (0, 4)])
def test_a_gpu_that_actors_do_not_have_is_refused(asked: int | None, offered: int) -> None:
    from preprocess.runtime.devices import for_devices

    with pytest.raises(UserError, match="actors have no GPU for --device cuda"):
        for_devices(RunOptions(device="cuda", gpus_per_actor=asked), Machine(8, offered, print))


def test_without_ray_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs Ray, which is not installed.*requirements-ray\.txt"):
        find_executor("ray")


def kill_worker(folder: Path) -> None:
    os.kill(int(_newest(folder).split()[0]), signal.SIGKILL)


def kill_actor(folder: Path) -> None:
    os.kill(parent(int(_newest(folder).split()[1])), signal.SIGKILL)


def _newest(folder: Path) -> str:
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime).read_text().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [kill_worker, kill_actor], ids=["worker", "actor"])
def test_what_a_process_that_is_killed_costs(cluster: Any, tmp_path: Path, fault: Callable[[Path], None]) -> None:
    at = {10, 25}

    def strike(number: int) -> None:
        if number in at:
            fault(tmp_path)

    reports = run(tmp_path, 60, 0.1, strike)
    assert not any(isinstance(report, Reject) for report in reports)
    again = sum(begun(tmp_path).values()) - 60
    print(f"{again} of 60 items begun again after {len(at)} kills")
    assert len(at) <= again <= len(at) * 4, "what was begun and not reported, of tasks of two"


@pytest.mark.slow
def test_a_node_that_goes_and_one_that_comes(cluster: Any, tmp_path: Path) -> None:
    nodes = list(cluster.worker_nodes)

    def change(number: int) -> None:
        if number == 10:
            threading.Thread(target=cluster.remove_node, args=(nodes[0],)).start()
        if number == 30:
            cluster.add_node(num_cpus=1)

    reports = run(tmp_path, 150, 0.1, change)
    assert not any(isinstance(report, Reject) for report in reports)
    assert len({report.actor for report in reports}) == 3, "the node that came worked, too"
    again = sum(begun(tmp_path).values()) - 150
    print(f"{again} of 150 items begun again")
    assert 1 <= again <= 8


@pytest.mark.slow
def test_a_machine_with_other_versions_ends_the_run(cluster: Any, tmp_path: Path) -> None:
    """Its one line names the machine and the version; nothing has been done there."""
    other = tmp_path / "site" / "torch-0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.1\n")
    cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(other.parent)})
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(UserError, match=r"^machine \S+ \(node \w+\) of the Ray cluster .*: torch 0\.1 there, \d"):
        run(work, 200, 0.1)


@pytest.mark.slow
def test_long_videos(cluster: Any, tmp_path: Path) -> None:
    """Scenes, latents and imported episodes have the bytes of one process."""
    pytest.importorskip("diffusers", reason="requirements-long-video.txt is not installed")
    from preprocess.long_video import commands
    from preprocess.long_video.demo import SIZE, make_models, render_videos

    raw, models, ready = tmp_path / "raw", tmp_path / "models", tmp_path / "ready"
    annotations = render_videos(raw)
    make_models(models)
    (ready / "tom").mkdir(parents=True)
    for number in range(4):
        write_video(ready / f"tom/{number}.mp4", n_frames=49, fps=16, seed=number)
    line = {"scene_start": [True] * 4, "scene_end": [True] * 4, **{f"text_{i}": f"text {i}" for i in range(4)}}
    (tmp_path / "lines.jsonl").write_text(json.dumps(line) + "\n")
    found = []
    for executor in ("ray", "local"):
        root = tmp_path / executor
        commands.scenes(root, raw, annotations, executor=executor)
        commands.segments(root, "3", size=f"{SIZE[0]}x{SIZE[1]}")
        commands.latents(root, vae=str(models), device="cpu", executor=executor)
        commands.import_episodes(root / "imported", ready, tmp_path / "lines.jsonl", "3", executor=executor)
        found.append({str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()})
    assert found[0] == found[1]
    assert sum(name.endswith(".pt") for name in found[0]) >= 10
    assert b"tom/3.mp4" in found[0]["imported/episodes/03s.jsonl"], sorted(found[0])


@pytest.mark.slow
def test_a_cluster_without_any_machine_ends_the_run(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preprocess.runtime.ray_cluster._ALONE_S", 3.0)

    def remove(number: int) -> None:
        if number == 5:
            for node in list(cluster.worker_nodes):
                cluster.remove_node(node)

    with pytest.raises(WorkerError, match="no machine of the Ray cluster has 1 CPUs"):
        run(tmp_path, 100, 0.1, remove)


DRIVER = """
import sys
from pathlib import Path
from preprocess.runtime.options import RunOptions
from preprocess.runtime.runner import run_items
from tests.runtime.items import Item
from tests.runtime.test_ray import Work
done = Path(sys.argv[2])
items = [item for item in map(Item, (f"k{n:03}" for n in range(60))) if not (done / item.key).exists()]
for report in run_items(items, Work(Path(sys.argv[1]), 0.1), RunOptions(executor="ray"), per_task=2):
    (done / report.key).touch()
"""


@pytest.mark.slow
def test_the_driver_is_killed_and_started_again(cluster: Any, tmp_path: Path, root: Path) -> None:
    work, done = tmp_path / "work", tmp_path / "done"
    work.mkdir()
    done.mkdir()
    command = [sys.executable, "-c", DRIVER, str(work), str(done)]
    driver = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)
    while len(list(done.iterdir())) < 15:
        assert driver.poll() is None, driver.stderr and driver.stderr.read()
        time.sleep(0.05)
    driver.kill()
    driver.communicate()
    subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=200)
    assert len(list(done.iterdir())) == 60
    again = sum(begun(work).values()) - 60
    print(f"{again} of 60 items begun again")
    assert again <= 20, "its actors go on until Ray notices, and the reports on their way are lost"
