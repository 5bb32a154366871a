"""What importing does: it defines names and nothing else; and what detection loads."""

from pathlib import Path

import pytest

from facemask.files import PROJECT

from .test_architecture import HEAVY, SCRIPTS, modules

LOADED = f"print(sorted({HEAVY} & {{name.split('.')[0] for name in sys.modules}}))"


def test_importing_everything_prints_nothing_and_writes_nothing(run_script, tmp_path: Path) -> None:
    done = run_script("-c", f"import {', '.join((*modules(), *SCRIPTS))}", cwd=tmp_path)
    assert len(modules()) > 50
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wing", ["detect", "output", "batch", "video", "data", "train"])
def test_importing_does_not_load_the_heavy_libraries(run_script, wing: str) -> None:
    names = [name for name in modules() if name.startswith(f"facemask.{wing}.")]
    assert names
    done = run_script("-c", f"import sys, {', '.join(names)}; {LOADED}")
    assert done.stdout == "[]\n"


def test_detection_with_the_shipped_networks_loads_none_of_them(run_script, tmp_path: Path) -> None:
    example = PROJECT / "examples" / "example_03.png"
    arguments = ["--image", str(example), "--detector", "builtin", "--no-display"]
    arguments += ["--json", str(tmp_path / "out.json"), "--output", str(tmp_path / "out.png")]
    code = f"import sys, detect_mask_image; detect_mask_image.main({arguments}); {LOADED}"
    done = run_script("-c", code, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "out.json").read_text().count('"label"') == 2


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_loads_none_of_the_large_libraries(run_script, script: str) -> None:
    code = (
        f"import sys, {script}\n"
        f"try: {script}.main(['--help'])\n"
        "except SystemExit: print([name for name in ('cv2', 'numpy', 'keras', 'sklearn')"
        " if name in sys.modules])"
    )
    done = run_script("-c", code)
    assert done.stdout.splitlines()[-1] == "[]"
