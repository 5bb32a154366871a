"""The steps of a training: time, processor time and memory of each.

    python benchmarks/time_training.py --dataset dataset

All arguments are those of train_mask_detector.py, which runs in this process. A step begins with
the line that announces it, the first with the start of Python. Processor seconds are those of all
cores together. The peak of memory is that of the process up to the end of the step.
"""

import resource
import sys
import time
from itertools import pairwise

from measure import machine, table

import train_mask_detector
from facemask.console import info, run

STARTED = time.perf_counter() - time.process_time()  # nothing has waited yet


def main() -> int:
    steps = [("start", 0.0, 0.0, 0.0)]

    def announce(message: str) -> None:
        if message.endswith("..."):
            begin(message.removesuffix("..."))
        info(message)

    def begin(name: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak /= 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes on Linux
        steps.append((name, time.perf_counter() - STARTED, time.process_time(), peak))

    print(f"{machine()}\n", flush=True)
    train_mask_detector.info = announce
    status = train_mask_detector.main()
    begin("end")
    rows = [
        [name, f"{end - start:.1f}", f"{done - before:.1f}", f"{peak:.0f}"]
        for (name, start, before, _), (_, end, done, peak) in pairwise([*steps, steps[-1]])
    ]
    _, seconds, processor, peak = steps[-1]
    rows[-1] = ["all", f"{seconds:.1f}", f"{processor:.1f}", f"{peak:.0f}"]
    print("\n" + table(["step", "seconds", "processor seconds", "peak memory, MB"], rows))
    return status


if __name__ == "__main__":
    run(main)
