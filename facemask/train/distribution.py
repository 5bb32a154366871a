"""Training one model in several processes or on several GPUs, by keras.distribution on JAX.

Each process reads its rows of every batch. Keras and JAX add up the gradients, so that all
processes change their weights in the same way, and as one process would that has the whole batch.
"""

import atexit
import hashlib
import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from facemask.addresses import check_addresses, parse_address
from facemask.errors import FacemaskError
from facemask.files import encode, reason
from facemask.keras_backend import load_keras

TIMEOUT = 300.0  # seconds for all processes to come; some machines start more slowly than others
HEARTBEAT = 30  # seconds of silence after which JAX counts a process as lost
PADDING = -1  # the label of rows that only fill up a batch
LOST = (
    "training in several processes: expected all of them to come and to stay, found one missing;"
    " the same commands with --resume go on"
)


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is, and how many devices it trains on.

    A context manager: a process that ends with an exception does not wait for the others, which
    then end too.
    """

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

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind and self.count > 1:
            # Runs before JAX's own function, which would wait for all others.
            atexit.register(_exit_at_once, 130 if kind is KeyboardInterrupt else 1)

    def check_same(self, name: str, value: str) -> None:
        """Raise FacemaskError unless all processes have the same value.

        name: of the value, in the plural, such as "images".
        """
        digest = np.frombuffer(hashlib.sha256(encode(value)).digest(), np.uint8)
        first, *others = self._gather(digest)
        for number, other in enumerate(others, 1):
            if not np.array_equal(other, first):
                raise FacemaskError(
                    f"process {number}: expected the same {name} as in process 0, found others"
                )

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in at least one process; all processes must call this."""
        return bool(self._gather(np.array([flag])).any())

    def broadcast(self, content: bytes) -> bytes:
        """The bytes that process 0 has, for all processes; Checkpoint.resume takes this."""
        (length,) = self.broadcast_arrays([np.array(len(content))])
        data = np.resize(np.frombuffer(content, np.uint8), int(length))
        return self.broadcast_arrays([data])[0].tobytes()

    def broadcast_arrays(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The arrays of process 0, for all; those of the others have the same shapes and types."""
        if self.count == 1:
            return list(arrays)
        from jax.experimental import multihost_utils

        with self.noticing_loss():
            return list(multihost_utils.broadcast_one_to_all(list(arrays)))

    def _gather(self, array: np.ndarray) -> np.ndarray:
        """The arrays of all processes, (count, *shape)."""
        if self.count == 1:
            return array[None]
        from jax.experimental import multihost_utils

        with self.noticing_loss():
            return multihost_utils.process_allgather(array)

    @contextmanager
    def noticing_loss(self) -> Iterator[None]:
        """Raise FacemaskError where the block fails because another process is lost."""
        try:
            yield
        except Exception as error:
            if self.count == 1 or not re.search("gloo|nccl|UNAVAILABLE", str(error), re.IGNORECASE):
                raise
            time.sleep(2)  # if process 0 is lost JAX ends this one here, and one line is enough
            raise FacemaskError(LOST) from error

    @contextmanager
    def distributed(self, model: Any) -> Iterator[Any]:
        """What to train in place of the model: a copy on all devices of all processes.

        It starts from the weights of process 0. When the block ends well the model gets the copy's
        weights. Outside of the block no array is shared with another process. A single device
        needs no copy: then it is the model itself.
        """
        if self.count * self.devices == 1:
            yield model
            return
        keras = load_keras()
        values = self.broadcast_arrays([np.asarray(variable) for variable in model.variables])
        with keras.distribution.DataParallel(auto_shard_dataset=False).scope():
            keras.utils.set_random_seed(0)  # JAX refuses initial weights that differ
            copy = keras.models.clone_model(model)
            for variable, value in zip(copy.variables, values, strict=True):
                variable.assign(value)
            yield copy
        model.set_weights(copy.get_weights())

    def padded(self, stream: Any) -> Any:
        """This process's rows of a stream of batches, all batches of one size.

        The size is the same for all processes and devices. What is missing is filled up with
        repeated rows, whose label is PADDING; batch normalization that learns counts them, losses
        and metrics of compile_arguments do not.
        """
        if self.count * self.devices == 1:
            return stream
        keras = load_keras()
        most = int(self._gather(np.array(len(stream[0][0]))).max())
        rows = -(-most // self.devices) * self.devices

        class Padded(keras.utils.PyDataset):
            def __init__(self) -> None:
                super().__init__(workers=stream.workers, max_queue_size=stream.max_queue_size)

            def __len__(self) -> int:
                return len(stream)

            def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
                inputs, labels, *weights = stream[number]
                count = len(labels)
                inputs, labels, *weights = (_pad(each, rows) for each in (inputs, labels, *weights))
                labels[count:] = PADDING
                return inputs, labels, *weights

        return Padded()

    def leave(self) -> None:
        """Wait for the others, and depend on none of them from then on.

        For the end of the training: process 0 still evaluates and saves when the others have ended.
        """
        if self.count > 1:
            import jax

            with self.noticing_loss():
                jax.distributed.shutdown()


ALONE = Processes()


def initialize(
    addresses: Sequence[str] | None = None, index: int | None = None, timeout_s: float = TIMEOUT
) -> Processes:
    """Meet the other processes; before anything else that uses JAX.

    addresses: HOST:PORT of each process, the same list for each; the first process listens on its
    own. index: this process's place in the list. Without both, Keras's own variables hold:
    KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and
    KERAS_DISTRIBUTION_PROCESS_ID. Without these, too, there is this process alone, which uses all
    GPUs of its machine where KERAS_BACKEND is jax.
    Where KERAS_BACKEND is not set, and there are others, it becomes jax.
    Raises FacemaskError when the backend is not JAX, when JAX is not installed, for addresses of
    another form or in use, and when not all processes have come after timeout_s seconds.
    """
    if addresses is None or index is None:
        text = os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES")
        addresses = text.split(",") if text else []
        count, index = (_variable("NUM_PROCESSES"), _variable("PROCESS_ID")) if text else (1, 0)
    else:
        count = len(addresses)
    if count == 1:
        return Processes(devices=_device_count())
    if len(addresses) > 1:
        check_addresses(addresses, index)
    host, port = parse_address(addresses[0])
    if (backend := os.environ.setdefault("KERAS_BACKEND", "jax")) != "jax":
        raise FacemaskError(
            f"KERAS_BACKEND: expected jax for training in several processes, found {backend}"
        )
    if importlib.util.find_spec("jax") is None:
        raise FacemaskError("jax: not installed; `pip install -r requirements-cluster.txt`")
    if index == 0:  # JAX may crash where it can't listen
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            raise FacemaskError(f"{addresses[0]}: can't listen: {reason(error)}") from error
    return _meet(addresses[0], count, index, timeout_s)


def _meet(address: str, count: int, index: int, timeout_s: float) -> Processes:
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    _shorten_native_log()
    try:
        # What keras.distribution.initialize calls, which takes neither a timeout nor the address
        # to listen on.
        jax.distributed.initialize(
            address,
            count,
            index,
            initialization_timeout=max(1, round(timeout_s)),
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=HEARTBEAT,
            coordinator_bind_address=address,
        )
    except Exception as error:
        message = " ".join(str(error).split())[:200]
        raise FacemaskError(
            f"{address}: expected {count} processes to meet there within {timeout_s:g} s, found:"
            f" {message}"
        ) from error
    processes = Processes(index, count, jax.local_device_count())
    # The first operation of all processes waits half a minute for the others, later ones longer.
    processes.any(False)
    return processes


def _variable(name: str) -> int:
    """The number in one of Keras's variables."""
    name = f"KERAS_DISTRIBUTION_{name}"
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise FacemaskError(f"{name}: expected a whole number, found {text!r}")
    return int(text)


def compile_arguments(processes: Processes) -> dict[str, Any]:
    """Loss and metrics, as Model.compile takes them, that do not count padding.

    The loss of a batch is the mean over its real rows. Keras's own mean of these over an epoch
    would count the rows of padding: a metric of the same name takes its place in the logs.
    """
    if processes.count * processes.devices == 1:
        return {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    keras = load_keras()
    ops = keras.ops

    class Accuracy(keras.metrics.SparseCategoricalAccuracy):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            super().update_state(y_true, y_pred, y_true != PADDING)

    class Loss(keras.metrics.Mean):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            real = y_true != PADDING
            losses = keras.losses.sparse_categorical_crossentropy(
                ops.where(real, y_true, 0), y_pred
            )
            super().update_state(losses if sample_weight is None else losses * sample_weight, real)

    return {
        "loss": keras.losses.SparseCategoricalCrossentropy(ignore_class=PADDING),
        "metrics": [Accuracy(name="accuracy")],
        "weighted_metrics": [Loss(name="loss")],
    }


def _pad(rows: np.ndarray, count: int) -> np.ndarray:
    if not len(rows):
        return np.zeros((count, *rows.shape[1:]), rows.dtype)
    return rows[np.arange(count) % len(rows)]


def _device_count() -> int:
    # Without importing Keras, which takes seconds: what is wrong with the data shows first.
    if os.environ.get("KERAS_BACKEND") != "jax":
        return 1
    import jax

    return jax.local_device_count()


def _exit_at_once(status: int) -> None:
    for file in (sys.stdout, sys.stderr):
        file.flush()
    os._exit(status)


_FILTER = """
import sys
log = sys.stdin.read()
if "distributed service detected fatal errors" in log:
    log = sys.argv[1]
sys.stderr.writelines(line for line in log.splitlines(True) if line[0] not in "IW")
"""


def _shorten_native_log() -> None:
    """Replace what JAX logs when it aborts this process by one line.

    JAX does so when it counts another process as lost. Nothing in this process runs after that, so
    that a child has to read the log. Of any other log it shows all but information and warnings.
    What Python writes is shown as before.
    """
    sys.stderr.flush()
    shown = os.dup(2)
    child = subprocess.Popen(
        [sys.executable, "-c", _FILTER, f"[ERROR] {LOST}\n"],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process
    )
    assert child.stdin
    os.dup2(child.stdin.fileno(), 2)
    child.stdin.close()
    sys.stderr = os.fdopen(shown, "w", buffering=1, errors="backslashreplace")
