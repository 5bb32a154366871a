"""Training one classifier in several processes, on one machine or several, each with its share.

Each step every worker takes its share of the same batch, and TensorFlow's collective operations
(those of tf.distribute.MultiWorkerMirroredStrategy) add up the gradients, so that all workers
change their weights in the same way, and as one worker would that has the whole batch. Keras's own
fit can't do that: in Keras 3.15 it fails under that strategy. Here it runs with other steps.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from facemask.errors import FacemaskError
from facemask.keras_backend import load_keras
from facemask.options import check_addresses, parse_address
from facemask.train.rendezvous import BEAT, SILENCE, Peers, end_process, meet

ALONE = ("localhost:1",), 0  # addresses and index where there are no others
TIMEOUT = 300.0  # seconds for all workers to come; some machines start more slowly than others
_AT_ONCE = 1 << 22  # numbers that are handed over in one operation


def from_tf_config() -> tuple[tuple[str, ...], int] | None:
    """Addresses and index as TF_CONFIG has them, TensorFlow's variable for clusters; None without.

    Raises FacemaskError for a TF_CONFIG of another form.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        said = json.loads(text)
        workers = said["cluster"]
        task, number = said["task"]["type"], int(said["task"]["index"])
        chiefs, others = workers.get("chief", []), workers.get("worker", [])
        index = {"chief": 0, "worker": len(chiefs)}[task] + number
        addresses = tuple(map(str, [*chiefs, *others]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FacemaskError(
            'TF_CONFIG: expected {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type":'
            f' "worker", "index": N}}}}, found {" ".join(text.split())[:200]}'
        ) from error
    check_addresses(addresses, index)
    return addresses, index


def join(
    addresses: Sequence[str],
    index: int,
    timeout_s: float = TIMEOUT,
    end: Callable[[str], None] = end_process,
) -> "Cluster":
    """Meet the other workers and start TensorFlow's distribution. Before any other use of it.

    addresses: HOST:PORT of every worker, the same list for each; the first one's port serves the
    meeting as well. index: this worker's place in the list. Where the machine has several GPUs each
    worker takes one, by its place among the workers of that host. end: called when another worker
    is lost and the main thread, in a collective operation, does not end; see rendezvous.Peers.
    Raises FacemaskError when an address is no HOST:PORT or in use, or when not all workers have
    come after timeout_s seconds.
    """
    check_addresses(addresses, index)
    if len(addresses) == 1:
        return Cluster(addresses, index, None, None)
    load_keras()  # takes seconds, and is better done before others wait
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        host, _ = parse_address(addresses[index])
        place = sum(parse_address(other)[0] == host for other in addresses[:index])
        tf.config.set_visible_devices(gpus[place % len(gpus)], "GPU")
    peers = meet(addresses, index, timeout_s, end)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(addresses)}),
        task_type="worker",
        task_id=index,
        num_accelerators={"GPU": min(1, len(gpus))},
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except tf.errors.OpError as error:
        what = " ".join(error.message.split())[:200]
        line = peers.lost_worker(0) or f"{addresses[index]}: TensorFlow can't serve there: {what}"
        peers.leave(failure=line)
        raise FacemaskError(line) from error
    return Cluster(addresses, index, strategy, peers)


class Cluster:
    """This worker among the others; made by join(). A context manager, which leaves at its end.

    One that ends with an exception tells the others, which end too.
    """

    def __init__(
        self, addresses: Sequence[str], index: int, strategy: Any, peers: Peers | None
    ) -> None:
        """strategy, peers: None for a cluster of one, in which nothing is handed over."""
        self.addresses, self.index = tuple(addresses), index
        self._strategy, self._peers = strategy, peers
        self._eager_sum: Any = None

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self.addresses)

    @property
    def chief(self) -> bool:
        """Whether it is this worker that writes files and reports."""
        return self.index == 0

    @property
    def shard(self) -> tuple[int, int]:
        """What stream.batches takes to read this worker's share."""
        return self.index, self.size

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        failed = error is not None and not (isinstance(error, SystemExit) and not error.code)
        line = " ".join(f"{error}".split())[:300] or type(error).__name__
        self.leave(line if failed else None)

    def leave(self, failure: str | None = None) -> None:
        """Be on one's own from now on: whether others stay or go does not matter any more.

        failure: a line for the others, which then end.
        """
        if self._peers:
            self._peers.leave(failure)

    def watched(self, work: Callable[[], Any]) -> Any:
        """The result of work that needs the others: FacemaskError if it fails as one is lost."""
        if self._peers is None:
            return work()
        import tensorflow as tf

        errors = tf.errors
        try:
            return work()
        except (errors.UnavailableError, errors.AbortedError, errors.CancelledError) as error:
            # The connections of TensorFlow broke: our own will tell whose.
            line = self._peers.lost_worker(SILENCE + 2 * BEAT)
            found = " ".join(error.message.split())[:200]
            raise FacemaskError(
                line
                or f"{self.addresses[self.index]}: expected worker {self.index} to reach the others"
                f" till the end, found: {found}"
            ) from error
        except Exception as error:
            line = self._peers.lost_worker(2 * BEAT)
            if line is None:
                raise
            raise FacemaskError(line) from error

    def sum_tensors(self, values: Sequence[Any]) -> list[Any]:
        """The sums over all workers of tensors, inside a tf.function.

        values: of the same shapes and types on each worker, all of one floating type.
        They are handed over as one vector: a step has hundreds of small ones.
        """
        if self._strategy is None:
            return list(values)
        import tensorflow as tf

        def all_reduce(vector: Any) -> Any:
            # A tensor made here is on the replica's device, as the strategy wants it.
            vector = tf.identity(vector)
            context: Any = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, vector)

        flat = tf.concat([tf.reshape(value, [-1]) for value in values], axis=0)
        summed = self._strategy.run(all_reduce, args=(flat,))
        parts = tf.split(summed, [tf.size(value) for value in values], num=len(values))
        return [
            tf.reshape(part, tf.shape(value)) for part, value in zip(parts, values, strict=True)
        ]

    def sum_array(self, values: np.ndarray) -> np.ndarray:
        """The sum over all workers of float64 arrays of the same shape."""
        if self._strategy is None:
            return values
        import tensorflow as tf

        if self._eager_sum is None:
            self._eager_sum = tf.function(
                lambda part: self.sum_tensors([part])[0],
                input_signature=[tf.TensorSpec([None], tf.float64)],
                autograph=False,
            )
        flat, summed = np.asarray(values, np.float64).reshape(-1), np.empty(values.size)
        for start in range(0, flat.size, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            summed[part] = self.watched(lambda part=part: self._eager_sum(flat[part]).numpy())
        return summed.reshape(values.shape)

    def check_same(self, what: str, value: str) -> None:
        """Raise FacemaskError unless all workers have the same value.

        what: names it, in the plural, such as "images": workers whose data or options are not the
        same would train something that no one asked for.
        """
        digest = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint8)
        mine = np.zeros((self.size, digest.size))
        mine[self.index] = digest
        everyone = self.sum_array(mine)
        for number, other in enumerate(everyone):
            if not np.array_equal(other, everyone[0]):
                raise FacemaskError(
                    f"{self.addresses[number]}: expected worker {number} to have the same {what} as"
                    " worker 0, found others"
                )

    def told(self, text: str) -> str:
        """The text that worker 0 has, for all of them."""
        length = int(self.sum_array(np.array([len(text.encode()) if self.chief else 0.0]))[0])
        said = np.zeros(length)
        if self.chief:
            said[:] = np.frombuffer(text.encode(), np.uint8)
        return self.sum_array(said).astype(np.uint8).tobytes().decode()

    def make_same(self, variables: Sequence[Any]) -> None:
        """Give Keras variables the values that they have on worker 0."""
        if self._strategy is None or not variables:
            return
        values = [np.asarray(variable, np.float64) for variable in variables]
        flat = np.concatenate([value.reshape(-1) for value in values])
        flat = self.sum_array(flat if self.chief else np.zeros_like(flat))
        ends = np.cumsum([value.size for value in values])
        for variable, value, end in zip(variables, values, ends, strict=True):
            variable.assign(flat[end - value.size : end].reshape(value.shape))


def fit(
    cluster: Cluster,
    model: Any,
    training: Any,
    validation: Any,
    *,
    epochs: int,
    initial_epoch: int = 0,
    callbacks: Sequence[Any] = (),
    quiet: bool = False,
) -> dict[str, list[float]]:
    """Keras's fit in all workers of the cluster at once: the same curves and weights for each.

    model: compiled, of one input and one output; its weights, and its optimizer's, are first made
    those of worker 0. training, validation: this worker's shares of the same streams, see
    Cluster.shard. The loss of a step is the mean over the whole batch, with weights as
    Keras's fit has them (their sum need not be the number of rows), so that the number of workers
    changes figures by rounding alone, but for two things: each worker drops other units out, and a
    batch normalization that learns takes the statistics of the worker's own rows; what it stores of
    them is averaged over the workers in each step.
    callbacks: on each worker the same; they see the same logs, with loss, accuracy, val_loss and
    val_accuracy those of all workers' images. What writes files belongs on the chief alone.
    Returns the curves, a value an epoch. Raises FacemaskError, within seconds, when another worker
    is lost or has other streams.
    """
    # Else they would wait for one another in operations that do not match.
    cluster.check_same("numbers of batches", f"{len(training)} and {len(validation)}")
    cluster.check_same("shapes of weights", str([tuple(one.shape) for one in model.weights]))
    steps = _Steps(cluster, model)
    cluster.make_same([*model.weights, *model.optimizer.variables])
    if not cluster.chief:
        # The same seed on all workers would drop the same units out of every share.
        for layer in leaves(model):
            if seed := getattr(layer, "seed_generator", None):
                seed.state.assign(seed.state + np.array([cluster.index, 0], np.uint32))
    # Keras's fit calls these where they are there, and makes its own where they are None.
    model.train_function, model.test_function = steps.train, steps.test
    try:
        history = cluster.watched(
            lambda: model.fit(
                training,
                validation_data=validation,
                epochs=epochs,
                initial_epoch=initial_epoch,
                shuffle=False,  # the stream shuffles
                callbacks=list(callbacks),
                verbose="auto" if cluster.chief and not quiet else 0,
            )
        )
    finally:
        model.train_function = model.test_function = None
    return {name: [float(value) for value in curve] for name, curve in history.history.items()}


def leaves(layer: Any) -> Iterator[Any]:
    """The layers of a model, and those of models in it, that consist of no others."""
    for inner in layer.layers:
        if hasattr(inner, "layers"):
            yield from leaves(inner)
        else:
            yield inner


class _Steps:
    """A step of training and one of validation, for Keras's fit to call."""

    def __init__(self, cluster: Cluster, model: Any):
        import tensorflow as tf

        self._cluster, self._model = cluster, model
        model.optimizer.build(model.trainable_variables)
        # Metrics make their variables when they first see something, which must be before the
        # steps are traced.
        inputs = tf.zeros((1, *model.input_shape[1:]), model.inputs[0].dtype)
        self._forward((inputs, tf.zeros(1, tf.int64)), training=False)
        model.reset_metrics()
        self._counts = [variable for metric in model.metrics for variable in metric.variables]
        # What changes without learning: the statistics of batch normalization.
        self._statistics = [
            variable
            for layer in leaves(model)
            if layer.trainable
            for variable in layer.non_trainable_weights
        ]
        train, test = (
            tf.function(one, autograph=False, reduce_retracing=True)
            for one in (self._train, self._test)
        )
        self.train = lambda iterator: train(next(iterator))
        self.test = lambda iterator: test(next(iterator))

    def _forward(self, data: Any, training: bool) -> Any:
        """The mean loss of this worker's rows, which the metrics then know too."""
        import tensorflow as tf

        inputs, labels, weights = load_keras().utils.unpack_x_y_sample_weight(data)
        predicted = self._model(inputs, training=training)
        loss = self._model.compute_loss(inputs, labels, predicted, weights, training=training)
        for metric in self._model.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=tf.shape(labels)[0])
            else:
                metric.update_state(labels, predicted, sample_weight=weights)
        return loss

    def _train(self, data: Any) -> dict[str, Any]:
        import tensorflow as tf

        variables = [variable.value for variable in self._model.trainable_variables]
        data, rows = _never_empty(data)
        before = [tf.identity(count.value) for count in self._counts]
        with tf.GradientTape() as tape:
            loss = self._forward(data, training=True)
        gradients = tape.gradient(
            loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        # A mean over the rows of all is the sum of each worker's, times its rows, over all rows.
        means = [*gradients, *(one.value for one in self._statistics)]
        total, means = self._add_up(before, rows, means)
        means = [tf.math.divide_no_nan(mean, total) for mean in means]
        self._model.optimizer.apply(means[: len(variables)], self._model.trainable_variables)
        for variable, mean in zip(self._statistics, means[len(variables) :], strict=True):
            variable.assign(mean)
        return self._model.get_metrics_result()

    def _test(self, data: Any) -> dict[str, Any]:
        import tensorflow as tf

        data, rows = _never_empty(data)
        before = [tf.identity(count.value) for count in self._counts]
        self._forward(data, training=False)
        self._add_up(before, rows, [])
        return self._model.get_metrics_result()

    def _add_up(self, before: list[Any], rows: Any, means: list[Any]) -> tuple[Any, list[Any]]:
        """Sum, over the workers, what the metrics counted; and rows, and rows times means.

        before: what the metrics had counted before this step. All that the metrics keep must be
        sums, as those of the loss and of the accuracy are.
        """
        import tensorflow as tf

        # Whatever a worker without rows worked out counts for nothing, were it not a number.
        steps = [
            tf.where(rows > 0, tf.cast(count.value, tf.float32) - tf.cast(old, tf.float32), 0)
            for count, old in zip(self._counts, before, strict=True)
        ]
        weighted = [tf.math.multiply_no_nan(tf.cast(mean, tf.float32), rows) for mean in means]
        total, *summed = self._cluster.sum_tensors([rows, *steps, *weighted])
        for count, old, step in zip(self._counts, before, summed, strict=False):
            count.assign(old + tf.cast(step, old.dtype))
        return total, summed[len(steps) :]


def _never_empty(data: Any) -> tuple[Any, Any]:
    """The parts of a batch, with a row of zeros where there is none; and how many rows it has.

    Some layers fail, or give numbers that are none, without rows.
    """
    import tensorflow as tf

    rows = tf.shape(data[0])[0]
    missing = tf.cast(rows == 0, tf.int32)

    # Not by tf.pad: oneDNN takes one before a convolution for padding of the pixels.
    def filled(part: Any) -> Any:
        row = tf.zeros(tf.concat([[missing], tf.shape(part)[1:]], axis=0), part.dtype)
        return tf.concat([part, row], axis=0)

    padded = tuple(None if part is None else filled(part) for part in data)
    return padded, tf.cast(rows, tf.float32)
