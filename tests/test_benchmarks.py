"""The benchmarks start, report what is missing, and measure."""

import os
import re
from pathlib import Path

import cv2
import pytest

from benchmarks import choose_margin, measure

from .train.small_training import DrawnTraining

# An option of each benchmark. Those with assets end without them.
OF_DETECTION = (
    *("bench_video", "bench_image", "bench_archive", "bench_long_run", "bench_crowd"),
    *("bench_page", "label_changes", "interpolated_faces"),
)
WITH_ASSETS = {
    **dict.fromkeys(OF_DETECTION, "--repeats"),
    "compare_bases": "--backbones",
    "bench_training": "--seeds",
    "face_network_tries": "--tries",
    "earlier_face_network": "--commit",
}
OPTIONS = {
    **WITH_ASSETS,
    "bench_memory": "--images",
    "bench_drawing": "--faces",
    "bench_frames": "--tiles",
    "choose_margin": "--margins",
    "time_training": "--dataset",
}


def script(tmp_path: Path, content: str, name: str = "script.py") -> Path:
    path = tmp_path / name
    path.write_text(content)
    return path


@pytest.mark.parametrize("name", OPTIONS)
def test_help(run_script, name: str) -> None:
    done = run_script(f"benchmarks/{name}.py", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert OPTIONS[name] in done.stdout


@pytest.mark.parametrize("name", WITH_ASSETS)
def test_missing_assets_are_one_line(run_script, name: str, tmp_path: Path) -> None:
    done = run_script(f"benchmarks/{name}.py", "--assets", tmp_path / "none")
    assert done.stderr == f"skipped: no assets at {tmp_path / 'none'}\n"


def test_frames_are_measured_with_what_the_project_brings(run_script) -> None:
    done = run_script("benchmarks/bench_frames.py", "--repeats", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    row = r"^\| 1280x720 \| builtin \| 2 \| [\d.]+ \| \d+ \|$"
    assert re.search(row, done.stdout, re.MULTILINE)


def test_the_steps_of_a_training_are_timed(run_script, drawn: Path) -> None:
    """A dry run has the first steps."""
    done = run_script(
        "benchmarks/time_training.py", "--dataset", drawn, "--dry-run", "--weights", "none",
        "--no-crop-faces", "--input-size", "96", "--batch-size", "4", "--split", "random",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| ([a-z ]+) \| ([\d.]+) \| [\d.]+ \| (\d+) \|$", done.stdout, re.M)
    names, seconds, peaks = zip(*rows, strict=True)
    assert names == ("start", "loading images", "compiling model", "all")
    assert sum(map(float, seconds[:-1])) == pytest.approx(float(seconds[-1]), abs=0.2)
    assert sorted(map(int, peaks)) == list(map(int, peaks))


def test_margins_are_compared_on_the_validation_part(
    drawn: Path,
    drawn_training: DrawnTraining,
    small_recipe: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    split = drawn_training.folder / "mask_detector.split.json"
    command = ["-d", str(drawn), "--split", str(split), "--input-size", "32", "--epochs", "1"]
    assert choose_margin.main([*command, "--margins", "0", "0.3"]) == 0
    count = drawn_training.report["images"]["validation"]
    rows = re.findall(
        rf"^\| ([\d.]+) \| [\d.]+ of {count} \| [\d.]+ \|$", capsys.readouterr().out, re.M
    )
    assert rows == ["0", "0.3"]


def test_time_and_memory_of_a_process_are_measured(run_script, tmp_path: Path) -> None:
    """Run by a small process, as the benchmarks are: a child's peak counts its parent's memory."""
    slow = script(tmp_path, "import time; time.sleep(0.3); block = b'x' * 200_000_000; print('hi')")
    light = script(tmp_path, "pass", "light.py")
    done = run_script(
        "-c",
        "from benchmarks import measure\n"
        f"first, second = measure.run({str(slow)!r}), measure.run({str(light)!r})\n"
        "assert 0.3 < first.seconds < 30, first\n"
        "assert first.first == first.seconds, first\n"
        "assert first.output == 'hi\\n', first\n"
        "assert 150 < first.peak - second.peak < 300, (first, second)",
    )
    assert done.returncode == 0, done.stderr


def test_an_awaited_file_is_timed_when_it_exists(tmp_path: Path) -> None:
    awaited = tmp_path / "a"
    path = script(tmp_path, f"import time; open({str(awaited)!r}, 'w'); time.sleep(0.5)")
    done = measure.run(path, awaited=awaited)
    assert done.first < done.seconds - 0.3


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


def test_an_existing_export_is_used(drawn_training: DrawnTraining, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    os.symlink(drawn_training.folder / "mask_detector.keras", tmp_path / "in" / "m.keras")
    model = measure.model_with_export(tmp_path / "in" / "m.keras", tmp_path / "out")
    made = model.with_suffix(".tflite")
    assert made.is_file()
    assert not made.is_symlink()
    (tmp_path / "in" / "m.tflite").write_bytes(made.read_bytes())
    (tmp_path / "again").mkdir()
    again = measure.model_with_export(tmp_path / "in" / "m.keras", tmp_path / "again")
    assert again.with_suffix(".tflite").resolve() == tmp_path / "in" / "m.tflite"


@pytest.mark.skipif(not hasattr(cv2.dnn, "readNetFromCaffe"), reason="needs OpenCV 4")
@pytest.mark.assets
def test_both_ways_are_measured_on_real_files(run_script, assets: Path, tmp_path: Path) -> None:
    done = run_script(
        "benchmarks/bench_image.py", "--assets", assets, "--repeats", "1",
        "--images", "4", "--larger", "6",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| 4 images, whole run \| [\d.]+ s \| [\d.]+ s \| ", done.stdout, re.M)
    assert re.search(r"^\| 6 \| [\d.]+ s \| [\d.]+ \| \d+ MB \|$", done.stdout, re.M)


@pytest.mark.assets
def test_the_memory_of_training_is_measured(run_script, keras_home: Path) -> None:
    done = run_script(
        "benchmarks/bench_memory.py", "--images", "40", env={"KERAS_HOME": str(keras_home)}
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| 40 \| \d+ \| \d+ \| [\d.]+ \|$", done.stdout, re.M)


@pytest.mark.assets
def test_a_backbone_is_measured(run_script, assets: Path) -> None:
    done = run_script(
        "benchmarks/compare_bases.py", "--assets", assets, "--backbones", "mobilenet_v3_small",
        "--train", "--size", "96", "--repeats", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    row = r"^\| MobileNetV3-Small \| [\d.]+ \| [\d.]+ \| not trained here \|  \|$"
    assert re.search(row, done.stdout, re.M)
