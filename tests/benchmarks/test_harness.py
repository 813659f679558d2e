"""What all benchmarks share: CPU time of others, trees of processes, rates and ratios, result files, the table."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.harness import peers, rounds
from benchmarks.harness.process import CommandFailedError, busy_s, foreign_share, measure, tree_of
from benchmarks.harness.result import Case, Contender, Result, Run, ratio, read_result, results_in, write_result
from benchmarks.harness.rounds import Bench, Command, with_cases_of
from benchmarks.harness.table import BEGIN, lines, main, row, table_of, with_table


def run(number: int, seconds: float, *, units: float = 100, disturbed: bool = False, peak_mb: float = 50) -> Run:
    return Run(number, units, seconds, seconds, 2 * seconds, peak_mb, 0.0, disturbed)


def contender(name: str, role: str, *seconds: float) -> Contender:
    return Contender(name, role, f"run {name}", tuple(run(i, s) for i, s in enumerate(seconds, 1)))  # type: ignore[arg-type]


def result(name: str = "encode", *seconds: float) -> Result:
    contenders = (
        contender("torch", "ours", *(seconds or (10, 20, 10))),
        contender("slow", "peer", 40, 40, 40),
        contender("script", "peer", 20, 30, 25),
        Contender("daft", "peer", "run daft", absent="does not install because | it is <missing>"),
    )
    machine = {"cpu": "A CPU", "cores": 2, "flags": ["amx_bf16"], "memory_gb": 24.0, "gpus": []}
    case = Case("videos → triples", "videos", contenders, {"share of bound": 0.934})
    return Result(name, "2026-01-02", machine, {"project": {"python": "3.11", "torch": "2.15"}}, (case,))


def test_the_cpu_time_of_others() -> None:
    assert foreign_share(busy=12, own=11, wall=10, cores=2) == pytest.approx(0.05)
    assert foreign_share(busy=10.9, own=11, wall=10, cores=2) == 0  # ticks are coarser than the CPU time of processes
    assert foreign_share(busy=50, own=0, wall=10, cores=4) == 1
    with pytest.raises(ValueError, match="wall = 0"):
        foreign_share(1, 1, 0, 2)


def test_busy_seconds_are_all_but_idle_and_waiting() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    values = [ticks * n for n in (1, 2, 4, 1000, 2000, 8, 16, 32, 64, 128)]
    assert busy_s("cpu  " + " ".join(map(str, values)) + "\ncpu0 1 1\n") == 1 + 2 + 4 + 8 + 16 + 32
    assert busy_s() > 0


def test_the_tree_of_a_process() -> None:
    assert tree_of(10, {11: 10, 12: 11, 13: 12, 20: 1, 21: 20, 10: 1}) == {10, 11, 12, 13}


ORPHAN = """
import subprocess, sys, time
child = "import time\\nwhile time.process_time() < 0.4: pass"
middle = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])"
subprocess.run([sys.executable, "-c", middle], check=True)
print("done")
"""


def test_a_process_that_outlives_its_parent_is_counted(tmp_path: Path) -> None:
    used = measure([sys.executable, "-c", ORPHAN], cwd=tmp_path)
    assert used.stdout == "done\n"
    assert used.cpu_s > 0.4
    assert 0 <= used.foreign_share <= 1


def test_other_children_of_the_caller_are_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time; held = bytearray(100_000_000); held[::4096] = held[::4096]; time.sleep(60)",
        ]
    ) as other:
        used = measure([sys.executable, "-c", "import time; time.sleep(0.5)"], cwd=tmp_path)
        assert used.peak_mb < 90
        assert other.poll() is None
        other.kill()


def test_the_memory_of_all_processes_counts(tmp_path: Path) -> None:
    holder = "import time; held = bytearray(100_000_000); held[::4096] = held[::4096]; time.sleep(2)"
    code = f"import subprocess, sys; a = [subprocess.Popen([sys.executable, '-c', {holder!r}]) for _ in range(2)]\n"
    used = measure([sys.executable, "-c", code + "for one in a: one.wait()"], cwd=tmp_path)
    assert 200 < used.peak_mb < 350


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match="exit code 3: no such video"):
        measure(
            [sys.executable, "-c", "import sys; print('no such video', file=sys.stderr); sys.exit(3)"], cwd=tmp_path
        )


def test_a_command_that_does_not_end_is_killed(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"it did not end within 0\.2 s"):
        measure([sys.executable, "-c", "import time; time.sleep(100)"], cwd=tmp_path, time_limit_s=0.2)


def test_the_ratio_is_that_of_each_round_to_the_best_peer() -> None:
    case = result().cases[0]
    peer = case.best("peer")
    assert peer is not None
    assert peer.name == "script"
    spread = case.ratio()
    assert spread is not None
    assert (spread.least, spread.median, spread.most) == (1.5, 2.0, 2.5)
    assert ratio(peer, peer).most == 1


def test_the_last_run_of_a_round_counts() -> None:
    runs = (run(1, 50, disturbed=True), run(1, 10, peak_mb=70), run(2, 20))
    one = Contender("torch", "ours", "run", runs)
    assert [each.seconds for each in one.counted] == [10, 20]
    assert one.rate == pytest.approx(7.5)
    assert one.peak_mb == 70


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seconds": 0.0}, "seconds"), ({"units": float("nan")}, "units"), ({"foreign_share": 1.5}, "foreign_share")],
)
def test_a_run_with_an_impossible_number_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(run(1, 1), **change)  # type: ignore[arg-type]


def test_a_contender_has_runs_or_a_reason() -> None:
    with pytest.raises(ValueError, match="'daft' must have either"):
        Contender("daft", "peer", "run")


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_result(tmp_path, result())
    assert read_result(path) == result()
    kept = json.loads(path.read_text())["cases"][0]["ratios_to_best_peer"]
    assert kept == {"torch": {"peer": "script", "median": 2.0, "least": 1.5, "most": 2.5}}


def test_a_ratio_that_was_edited_is_noticed(tmp_path: Path) -> None:
    path = write_result(tmp_path, result())
    path.write_text(path.read_text().replace('"median": 2.0', '"median": 3.0'))
    with pytest.raises(ValueError, match=r"encode\.json: the ratio of 'torch'"):
        read_result(path)


def test_the_row_of_a_case() -> None:
    assert row(result().cases[0]) == (
        "| videos → triples | 10 videos/s (torch) | 4 videos/s (script) | 2.00 (1.50 to 2.50) | 50 MB / 50 MB | "
        "share of bound 0.934; daft: does not install because \\| it is &lt;missing> |"
    )
    assert "Measured on 2 cores of A CPU, AMX, 24.0 GB, python 3.11, torch 2.15." in table_of([result()])


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="must have <!-- benchmarks -->"):
        with_table("# A page\n", "table\n")


def test_an_edited_figure_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command that `test_the_table_is_what_the_results_say` runs on the README."""
    write_result(tmp_path, result())
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}<!-- /benchmarks -->\nafter\n")
    monkeypatch.setattr(sys, "argv", ["table", "--page", str(page), "--results", str(tmp_path)])
    assert main() == 0
    written = page.read_text()
    assert "| 10 videos/s (torch) |" in written
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--check"])
    assert main() == 0
    page.write_text(written.replace("10 videos/s", "11 videos/s"))
    assert main() == 1


def test_the_table_is_what_the_results_say(root: Path) -> None:
    page = (root / "README.md").read_text(encoding="utf-8")
    made = with_table(page, table_of(results_in(root / "benchmarks" / "results")))
    assert made == page, "run `python -m benchmarks.harness.table`"


def test_no_result_names_a_path_of_the_machine(root: Path) -> None:
    for path in (root / "benchmarks" / "results").glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert not any(part in text for part in ("/tmp/", "/home/", "/root/", str(root))), path.name


def test_torchcodec_is_given_the_ffmpeg_of_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = tmp_path / "torch/lib/python3.11/site-packages/av.libs"
    bundled.mkdir(parents=True)
    for name in ("libavcodec-5e6b81c2.so.62.28.102", "libswscale-88e9f973.so.9.5.102", "libx264-d6533a8d.so.165"):
        (bundled / name).touch()
    monkeypatch.setattr(peers, "PEERS", tmp_path)
    env = peers.link_ffmpeg(tmp_path / "ffmpeg")
    assert sorted(path.name for path in (tmp_path / "ffmpeg").iterdir()) == ["libavcodec.so.62", "libswscale.so.9"]
    assert env == {"LD_LIBRARY_PATH": f"{tmp_path / 'ffmpeg'}:{bundled}"}
    assert peers.link_ffmpeg(tmp_path / "ffmpeg", "another") == {}


def test_a_peer_that_is_missing_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PEERS", tmp_path)
    peers.why_absent.cache_clear()
    assert "`make bench-peers` makes it" in peers.why_absent("daft")
    (tmp_path / "torch/bin").mkdir(parents=True)
    (tmp_path / "torch/bin/python").symlink_to(sys.executable)
    peers.why_absent.cache_clear()
    assert peers.why_absent("json") == ""
    assert (
        peers.why_absent("no_such_peer")
        == "does not import because ModuleNotFoundError: No module named 'no_such_peer'"
    )
    (tmp_path / "torch/failed.txt").write_text("Collecting\nERROR: No matching distribution\nhint\n")
    peers.why_absent.cache_clear()
    assert peers.why_absent("no_such_peer") == "does not install because ERROR: No matching distribution"
    assert peers.why_absent("json") == ""
    peers.why_absent.cache_clear()


SAYS = "import sys, json; open(sys.argv[1], 'a').write(sys.argv[2]); print(json.dumps({'units': 8, 'seconds': 2.0}))"


def commands_that_log(log: Path) -> list[Command]:
    return [
        Command("a", "ours", [sys.executable, "-c", SAYS, str(log), "a"]),
        Command("b", "peer", [sys.executable, "-c", SAYS, str(log), "b"]),
        Command("c", "peer", [sys.executable, "-c", "raise SystemExit('no codec')"]),
    ]


def test_contenders_run_in_turn_and_say_their_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without repetitions: the tests beside this one disturb it as much as they like."""
    options = ["--rounds", "2", "--warmup", "--repeats", "0", "--results", str(tmp_path / "results")]
    monkeypatch.setattr(sys, "argv", ["bench", *options])
    bench, _ = Bench.from_arguments("turns", argparse.ArgumentParser(), packages=("pytest",))
    with bench:
        case = bench.case("things", "things", 1, commands_that_log(tmp_path / "log"))
        found = read_result(bench.write())
    assert (tmp_path / "log").read_text() == "ababab"
    assert case.contenders[0].rate == 4.0
    assert [one.absent for one in found.cases[0].contenders] == ["", "", "fails: exit code 1: no codec"]
    assert len(found.cases[0].contenders[0].runs) == 2
    assert found.versions["project"]["pytest"] == pytest.__version__


def test_facts_are_those_of_all_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that says how often it has run: what is measured by its median, the rest by its last value."""
    script = (
        "import json, pathlib, sys; log = pathlib.Path(sys.argv[1]); log.open('a').write('x'); "
        "n = len(log.read_text()); print(json.dumps({'facts': {'s': n / 2, 'n': n, 'name': str(n)}}))"
    )
    options = ["--rounds", "3", "--warmup", "--repeats", "0", "--results", str(tmp_path / "results")]
    monkeypatch.setattr(sys, "argv", ["bench", *options])
    bench, _ = Bench.from_arguments("facts", argparse.ArgumentParser())
    with bench:
        one = Command("a", "ours", [sys.executable, "-c", script, str(tmp_path / "log")])
        case = bench.case("things", "things", 1, [one])
    assert case.contenders[0].facts == {"s": 1.5, "n": 4, "name": "4"}


def test_a_disturbed_run_is_repeated_so_often_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is one that others disturbed where nothing is too short to judge and no share is small enough."""
    monkeypatch.setattr(rounds, "SHORT_S", 0.0)
    monkeypatch.setattr(rounds, "FOREIGN_LIMIT", -1.0)
    monkeypatch.setattr(sys, "argv", ["bench", "--rounds", "1", "--repeats", "2", "--results", str(tmp_path)])
    bench, _ = Bench.from_arguments("turns", argparse.ArgumentParser())
    with bench:
        case = bench.case("things", "things", 1, commands_that_log(tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "aaabbb"
    assert [[run.disturbed for run in one.runs] for one in case.contenders] == [[True] * 3, [True] * 3, []]


def test_one_variable_sets_the_rounds_of_all_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, options, expected in (("", [], 5), ("1", [], 1), ("1", ["--rounds", "2"], 2)):
        monkeypatch.setenv("ROUNDS", variable)
        monkeypatch.setattr(sys, "argv", ["bench", *options])
        bench, _ = Bench.from_arguments("turns", argparse.ArgumentParser(), rounds=5)
        with bench:
            assert bench.rounds == expected


def test_ours_in_a_form_of_its_own_is_not_compared_with_peers(tmp_path: Path) -> None:
    before = result().cases[0]
    ours = before.best("ours")
    assert ours is not None
    faster = replace(ours, name="int8", role="apart", runs=tuple(replace(run, seconds=0.1) for run in ours.runs))
    case = replace(before, contenders=(*before.contenders, faster))
    assert case.ratio() == before.ratio()
    assert [line[-1] for line in lines(case)] == [*(line[-1] for line in lines(before)), ""]
    assert table_of([replace(result(), cases=(case,))]) == table_of([result()])
    path = write_result(tmp_path, replace(result(), cases=(case,)))
    assert json.loads(path.read_text())["cases"][0]["ratios_to_best_peer"].keys() == {ours.name}
    assert read_result(path).cases == (case,)


def test_cases_measured_apart_are_one_result(tmp_path: Path) -> None:
    write_result(tmp_path, result())
    later = result("encode", 5, 5, 5)
    more = replace(later, date="2026-03-04", cases=(replace(later.cases[0], title="another"),))
    added = with_cases_of(tmp_path, more)
    assert [(case.title, case.contenders[0].seconds) for case in added.cases] == [
        ("videos → triples", 10),
        ("another", 5),
    ]
    assert with_cases_of(tmp_path, later).cases == later.cases, "measured again"
    write_result(tmp_path, added)
    assert with_cases_of(tmp_path, later).cases == (later.cases[0], added.cases[1]), "in its place"
    assert with_cases_of(tmp_path / "none", later) == later
    with pytest.raises(ValueError, match=r"encode\.json has another machine"):
        with_cases_of(tmp_path, replace(later, machine={"cpu": "another"}))
