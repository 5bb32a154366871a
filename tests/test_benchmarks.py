"""The benchmarks start, say what is missing, and measure."""

import os
import re
from pathlib import Path

import pytest

from benchmarks import measure
from facemask.files import PROJECT

SCRIPTS = [
    f"benchmarks/{name}.py"
    for name in (
        "bench_video",
        "bench_image",
        "bench_archive",
        "bench_long_run",
        "label_changes",
        "compare_bases",
    )
]


def script(tmp_path: Path, content: str, name: str = "script.py") -> Path:
    path = tmp_path / name
    path.write_text(content)
    return path


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(run_script, name: str) -> None:
    done = run_script(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--repeats" in done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_without_the_assets_they_say_so_in_one_line(run_script, name: str, tmp_path: Path) -> None:
    done = run_script(name, "--assets", tmp_path / "none")
    assert done.stderr == f"skipped: no assets at {tmp_path / 'none'}\n"


def test_a_process_is_timed_from_its_start_and_weighed(run_script, tmp_path: Path) -> None:
    """From a small process, as the benchmarks are: a child's peak counts what its parent had."""
    slow = script(tmp_path, "import time; time.sleep(0.3); block = b'x' * 200_000_000; print('hi')")
    light = script(tmp_path, "pass", "light.py")
    done = run_script(
        "-c",
        "from benchmarks import measure\n"
        f"one, other = measure.run({str(slow)!r}), measure.run({str(light)!r})\n"
        "assert 0.3 < one.seconds < 30, one\n"
        "assert one.first == one.seconds, one\n"
        "assert one.output == 'hi\\n', one\n"
        "assert 150 < one.peak - other.peak < 300, (one, other)",
    )
    assert done.returncode == 0, done.stderr


def test_an_awaited_file_is_timed_when_it_is_there(tmp_path: Path) -> None:
    awaited = tmp_path / "a"
    path = script(tmp_path, f"import time; open({str(awaited)!r}, 'w'); time.sleep(0.5)")
    one = measure.run(path, awaited=awaited)
    assert one.first < one.seconds - 0.3


@pytest.mark.parametrize("content", ["raise SystemExit(3)", "pass"])
def test_a_run_that_fails_or_writes_nothing_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(RuntimeError, match=r"failed with status [30]"):
        measure.run(script(tmp_path, content), awaited=tmp_path / "never")


def test_the_ratio_is_that_of_the_pairs() -> None:
    assert measure.compared([8.0, 9.0, 40.0], [2.0, 3.0, 4.0]) == "4.0 (3.0 to 10.0)"


def test_a_table_is_markdown() -> None:
    assert measure.table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_the_machine_is_one_line() -> None:
    assert re.fullmatch(
        r"\d+ cores, .+; Python 3\.\d+\.\d+, TensorFlow .+, OpenCV .+; load average \d+\.\d",
        measure.machine(),
    )


def test_a_twin_that_is_there_is_used(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    os.symlink(PROJECT / "mask_detector.keras", tmp_path / "in" / "m.keras")
    model = measure.model_with_twin(tmp_path / "in" / "m.keras", tmp_path / "out")
    made = model.with_suffix(".tflite")
    assert made.is_file()
    assert not made.is_symlink()
    (tmp_path / "in" / "m.tflite").write_bytes(made.read_bytes())
    (tmp_path / "again").mkdir()
    again = measure.model_with_twin(tmp_path / "in" / "m.keras", tmp_path / "again")
    assert again.with_suffix(".tflite").resolve() == tmp_path / "in" / "m.tflite"


@pytest.mark.assets
def test_both_ways_are_measured_on_real_files(run_script, assets: Path, tmp_path: Path) -> None:
    done = run_script(
        "benchmarks/bench_image.py", "--assets", assets, "--repeats", "1",
        "--images", "4", "--larger", "6",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| 4 images, whole run \| [\d.]+ s \| [\d.]+ s \| ", done.stdout, re.M)
    assert re.search(r"^\| 6 \| [\d.]+ s \| [\d.]+ \| \d+ MB \|$", done.stdout, re.M)
