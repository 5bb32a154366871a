import json
from pathlib import Path

import pytest

from facemask.errors import FacemaskError
from facemask.train import workers
from facemask.train.cluster import from_tf_config

from ..conftest import refusal

WORKER = """
import json, os, signal, sys, time
from pathlib import Path
place = json.loads(os.environ["TF_CONFIG"])
number = place["task"]["index"]
said = {"place": place, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "arguments": sys.argv[1:]}
Path(f"{number}.json").write_text(json.dumps(said))
print("said by", number, flush=True)
if str(number) == os.environ.get("KILLED"):
    os.kill(os.getpid(), signal.SIGKILL)
if str(number) == os.environ.get("FAILING"):
    time.sleep(0.5)
    sys.exit("[ERROR] out of paper")
time.sleep(float(os.environ.get("SECONDS", "0")))
Path(f"{number}.ended").touch()
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    return path


def test_each_worker_has_its_place_and_gpu(
    script: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "visible_gpus", lambda: ["3", "GPU-7f"])
    assert workers.main([str(script), "--dataset", "x"]) == 0
    assert capfd.readouterr().out == "said by 0\n"
    said = [json.loads(Path(f"{number}.json").read_text()) for number in (0, 1)]
    assert not Path("2.json").exists()
    assert [one["gpu"] for one in said] == ["3", "GPU-7f"]
    assert [one["arguments"] for one in said] == [["--dataset", "x"]] * 2
    places = []
    for one in said:
        monkeypatch.setenv("TF_CONFIG", json.dumps(one["place"]))
        places.append(from_tf_config())
    addresses = places[0][0]
    assert len(set(addresses)) == 2
    assert places == [(addresses, 0), (addresses, 1)]


@pytest.mark.parametrize(
    ("killed", "seconds", "status"),
    [("", "20", 1), ("0", "0", 128 + 9)],
    ids=["one fails, the other goes on", "worker 0 is killed, of which the other tells"],
)
def test_when_a_worker_fails_its_errors_are_shown_and_the_others_ended(
    script: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    killed: str,
    seconds: str,
    status: int,
) -> None:
    monkeypatch.setattr(workers, "visible_gpus", list)
    monkeypatch.setattr(workers, "_PATIENCE", 1.5)
    monkeypatch.setenv("FAILING", "1")
    monkeypatch.setenv("KILLED", killed)
    monkeypatch.setenv("SECONDS", seconds)
    assert workers.main(["--count", "2", str(script)]) == status
    assert capfd.readouterr().err == "[ERROR] out of paper\n"
    assert not Path("0.ended").exists()


def test_without_gpus_the_number_of_workers_has_to_be_said(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "visible_gpus", list)
    with pytest.raises(FacemaskError, match="expected GPUs, found none; --count"):
        workers.main([str(script)])
    assert "nothing.py: expected a Python script" in refusal(workers.main, ["nothing.py"], capsys)
