"""What importing the package's modules does: nothing but make names."""

from pathlib import Path

import pytest

from facemask.files import PROJECT

MODULES = sorted(path.stem for path in Path(PROJECT, "facemask").glob("*.py"))


def test_importing_everything_prints_nothing_and_writes_nothing(run_script, tmp_path: Path) -> None:
    names = ", ".join(f"facemask.{name}" for name in MODULES if name != "__init__")
    scripts = "train_mask_detector, detect_mask_image, detect_mask_video"
    done = run_script("-c", f"import {names}, {scripts}", cwd=tmp_path)
    assert len(MODULES) > 15
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "module", ["pipeline", "detector", "classifier", "export", "training", "downloads"]
)
def test_importing_does_not_load_tensorflow(run_script, module: str) -> None:
    done = run_script("-c", f"import sys, facemask.{module}; print('tensorflow' in sys.modules)")
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "script", ["train_mask_detector", "detect_mask_image", "detect_mask_video"]
)
def test_help_loads_none_of_the_large_libraries(run_script, script: str) -> None:
    code = (
        f"import sys, {script}\n"
        "try: MODULE.main(['--help'])\n"
        "except SystemExit: print([name for name in ('cv2', 'numpy', 'keras', 'sklearn')"
        " if name in sys.modules])"
    )
    done = run_script("-c", code.replace("MODULE", script))
    assert done.stdout.splitlines()[-1] == "[]"
