"""Training one model in several processes or on several GPUs, by keras.distribution on JAX."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TIMEOUT = 300.0  # seconds for all processes to come; some machines start more slowly than others


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is, and how many devices it trains on."""

    index: int = 0
    count: int = 1
    devices: int = 1  # GPUs of this process; 1 without GPUs, and on TensorFlow

    @property
    def chief(self) -> bool:
        """Whether this process prints and writes files."""
        return self.index == 0

    @property
    def shard(self) -> tuple[int, int]:
        """Which rows of each batch data.batches reads for this process."""
        return self.index, self.count

    def check_same(self, name: str, value: str) -> None:
        """Raise FacemaskError unless all processes have the same value.

        name: of the value, in the plural, such as "images".
        """

    def broadcast(self, content: bytes) -> bytes:
        """The bytes that the chief has, for all processes; Checkpoint.resume takes this."""
        return content

    def broadcast_arrays(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The chief's arrays, for all processes, which have arrays of the same shapes and types."""
        return list(arrays)

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in at least one process; all processes must call this."""
        return flag

    def leave(self) -> None:
        """Wait for the others, and depend on none of them from then on.

        For the end of the training: the chief still evaluates and saves when the others are gone.
        """


ALONE = Processes()


def initialize(
    addresses: Sequence[str] | None = None, index: int | None = None, timeout_s: float = TIMEOUT
) -> Processes:
    """Meet the other processes; before anything else that uses JAX.

    addresses: HOST:PORT of each process, the same list for each; the first one's port serves the
    meeting. index: this process's place in the list. Without both, Keras's own variables hold:
    KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID; without these, too, there is
    this process alone, which uses all GPUs of its machine where KERAS_BACKEND is jax.
    Raises FacemaskError when the backend is not JAX, when JAX is not installed, for addresses of
    another form, and when not all processes have come after timeout_s seconds.
    """
    return ALONE
