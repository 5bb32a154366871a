"""The built-in detector's answers, loss, samples and training."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.detect.anchor_points import anchor_points
from facemask.detect.builtin import BuiltinFaceDetector
from facemask.errors import FacemaskError
from facemask.geometry import ious
from facemask.keras_backend import load_keras
from facemask.sample_dataset.mask import points_on_face
from facemask.train_face_detector import __main__ as train_face_detector
from facemask.train_face_detector import network as network_module
from facemask.train_face_detector import trainer
from facemask.train_face_detector.network import build_face_network, prune_channels
from facemask.train_face_detector.samples import AnnotatedImage, _mean, _view, of_kind, sample
from facemask.train_face_detector.targets import BACKGROUND, FACE, IGNORE, assign_targets, face_loss
from facemask.train_face_detector.trainer import Trainer, read_weights, save_weights

NONE = np.zeros((0, 4), np.float32)


def test_near_cells_of_the_right_stride_answer_for_a_face() -> None:
    box = np.array([[40, 40, 60, 60]], np.float32)
    truth = assign_targets(box, NONE, 96, 96)
    centres, strides = anchor_points(96, 96)
    face = truth[:, 0] == FACE
    assert set(strides[face]) == {8}
    assert np.abs(centres[face] - 50).max() <= 6
    corners = np.concatenate([centres - 8 * truth[:, 1:3], centres + 8 * truth[:, 3:]], axis=1)
    assert (corners[face] == box).all()
    assert truth[0, 0] == BACKGROUND


def test_unsure_places_may_be_either() -> None:
    truth = assign_targets(NONE, np.array([[0, 0, 20, 20]], np.float32), 96, 96)
    centres, _ = anchor_points(96, 96)
    assert (truth[:, 0] == np.where((centres < 20).all(axis=1), IGNORE, BACKGROUND)).all()


def test_right_answers_cost_less_than_wrong_ones() -> None:
    box = np.array([[40, 40, 60, 60]], np.float32)
    truth = assign_targets(box, NONE, 96, 96)
    right = np.full((len(truth), 5), -9.0, np.float32)
    face = truth[:, 0] == FACE
    right[face, 0] = 9.0
    right[face, 1:] = np.log(truth[face, 1:])
    best = float(np.asarray(face_loss(truth[None], right[None])))
    assert best == pytest.approx(0, abs=1e-3)
    unseen, moved, seen_elsewhere = right.copy(), right.copy(), right.copy()
    unseen[face, 0] = -9.0
    moved[face, 1] += 0.5
    seen_elsewhere[0, 0] = 9.0
    for wrong in (unseen, moved, seen_elsewhere):
        assert float(np.asarray(face_loss(truth[None], wrong[None]))) > best + 0.05


def test_a_sample_moves_boxes_with_its_pixels(tmp_path: Path) -> None:
    image = np.full((200, 200, 3), 40, np.uint8)
    image[80:120, 70:110] = 220
    path = tmp_path / "square.png"
    cv2.imwrite(str(path), image)
    one = AnnotatedImage(path, np.array([[70, 80, 110, 120]], np.float32), NONE, portrait=False)
    shares = []
    for seed in range(30):
        view, faces, _ = sample([[one], []], 384, np.random.default_rng(seed))
        assert view.shape == (384, 384, 3)
        for box in faces:
            x1, y1, x2, y2 = np.rint(box).astype(int)
            inside = float(view[y1:y2, x1:x2].mean())
            shares.append(inside > view[:y1].mean() if y1 > 20 else True)
    assert len(shares) > 15
    assert np.mean(shares) > 0.9


def test_iou() -> None:
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], float)
    assert ious(np.array([0, 0, 10, 10.0]), others).tolist() == pytest.approx([1, 1 / 3, 0])


def test_slimming_keeps_what_the_base_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many channels as the full network has, nothing may be lost."""
    keras = load_keras()
    blocks = ((16, 1, 32), (24, 2, 96), (24, 1, 144))
    monkeypatch.setattr(network_module, "STEM", 32)
    monkeypatch.setattr(network_module, "BLOCKS", blocks)
    monkeypatch.setattr(network_module, "_BLOCKS", range(3))
    monkeypatch.setattr(network_module, "LEVELS", (0, 1, 2))
    monkeypatch.setattr(network_module, "_doubled", lambda level: level)
    monkeypatch.setattr(network_module, "PYRAMID", 8)
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, None, 3))
    base = keras.applications.MobileNetV2((96, 96, 3), include_top=False, weights=None)
    for layer in base.layers:  # learnt weights keep a signal's size, random ones let it fade
        if len(layer.weights) == 1:
            layer.set_weights([3 * layer.get_weights()[0]])
    x = network_module._convolution(inputs, 32, 3, 2, "stem")
    outputs = []
    for number, (filters, stride, kept) in enumerate(blocks):
        before = x
        if number:
            x = network_module._convolution(x, kept, 1, 1, f"expand_{number}")
        x = network_module._depthwise(x, stride, f"depthwise_{number}")
        x = network_module._convolution(x, filters, 1, 1, f"project_{number}", cap=False)
        if number == 2:
            x = keras.layers.Add(name="add_2")([before, x])
        outputs.append(x)
    network = keras.Model(inputs, outputs[-1])
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (96, 96, 3), np.uint8) for _ in range(8)]
    prune_channels(network, base, images)
    full = keras.Model(base.input, base.get_layer("block_2_add").output)
    image = images[0][None].astype(np.float32)
    wanted = np.asarray(full(image[..., ::-1] / 127.5 - 1, training=False))
    given = np.asarray(network(image, training=False))
    inner = (slice(None), slice(4, -4), slice(4, -4))  # at the edge, black is padded, not grey
    error = np.square(wanted[inner] - given[inner]).mean() / wanted[inner].var()
    assert error < 0.05


def test_the_networks_answers_have_a_row_for_each_cell() -> None:
    answers = build_face_network()(np.zeros((2, 64, 96, 3), np.float32), training=False)
    assert answers.shape == (2, len(anchor_points(64, 96)[0]), 5)


def test_a_detector_is_trained_interrupted_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = np.full((128, 128, 3), 60, np.uint8)
    image[40:80, 40:80] = 200
    path = tmp_path / "street" / "images" / "one.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), image)
    one = AnnotatedImage(path, np.array([[40, 40, 80, 80]], np.float32), NONE, portrait=False)
    parts = {"train": [one], "validation": [one], "test": [one]}
    monkeypatch.setattr(train_face_detector, "load_photographs", lambda args, made: parts)
    monkeypatch.setattr(train_face_detector, "SIZE", 64)
    monkeypatch.setattr(train_face_detector, "LARGE_SIZE", 96)
    # A block for each stride: most of the time goes into TensorFlow's looking at all fifteen.
    blocks = ((16, 2, 16), (32, 2, 48), (64, 2, 64), (96, 2, 96))
    monkeypatch.setattr(network_module, "BLOCKS", blocks)
    monkeypatch.setattr(network_module, "LEVELS", (1, 2, 3))
    output = tmp_path / "found.tflite"
    arguments = [
        "--scenes", str(tmp_path / "street"), "--weights", "none", "--output", str(output),
        "--steps", "4", "--batch-size", "2", "--epochs", "2",
    ]  # fmt: skip

    def truncated(*_: object) -> tuple[float, float]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "calibrate", truncated)
        with pytest.raises(KeyboardInterrupt):
            train_face_detector.main(arguments)
    state = json.loads((tmp_path / "found.state.json").read_text())
    assert len(state["loss"]) == 2
    kept = tmp_path / "kept.weights.h5"
    assert train_face_detector.main([*arguments, "--resume", "--keep-weights", str(kept)]) == 0
    assert kept.is_file()
    assert BuiltinFaceDetector.load(output).detect(image, 0.99) == []
    assert "| street | 1 | 1 |" in (tmp_path / "found.md").read_text()
    assert not (tmp_path / "found.state.json").exists()
    assert "epoch 1 of 2" in capsys.readouterr().out


def test_weights_are_kept_and_begun_with(tmp_path: Path) -> None:
    load_keras().utils.set_random_seed(1)
    first, second = (Trainer([], [(64, 2)], 1, 1, 1e-3, 42) for _ in range(2))
    kept = tmp_path / "kept.weights.h5"
    save_weights(first, kept)
    second.network.set_weights(read_weights(kept))
    pairs = zip(first.network.get_weights(), second.network.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    kept.write_bytes(kept.read_bytes()[:5000])
    with pytest.raises(FacemaskError, match=r"kept\.weights\.h5: expected weights of this network"):
        read_weights(kept)


def test_a_laid_portrait_hides_what_is_behind_it(tmp_path: Path) -> None:
    white, grey = tmp_path / "white.png", tmp_path / "grey.png"
    cv2.imwrite(str(white), np.full((60, 60, 3), 255, np.uint8))
    cv2.imwrite(str(grey), np.full((640, 640, 3), 90, np.uint8))
    portrait = AnnotatedImage(white, np.array([[10, 10, 50, 50]], np.float32), NONE, portrait=True)
    tiles = [[x, y, x + 40, y + 40] for x in range(0, 640, 40) for y in range(0, 640, 40)]
    scene = AnnotatedImage(grey, np.array(tiles, np.float32), NONE, portrait=False)
    hidden = 0
    for seed in range(40):
        view, faces, unsure = _view(
            portrait, 256, 256, (30.0, 90.0), 0.55, [scene], np.random.default_rng(seed)
        )
        bright = np.asarray((view > 240).all(axis=-1), np.uint8)
        if len(faces) < 2:
            continue  # laid upon one colour
        own, *others = faces
        assert _mean(bright, own) > 0.8
        assert all(_mean(bright, box) < 0.2 for box in others)
        hidden += sum(_mean(bright, box) > 0.2 for box in unsure)
    assert hidden > 20


def test_points_for_a_mask_follow_the_face() -> None:
    points = points_on_face(np.array([[40, 40], [80, 40], [60, 60], [45, 80], [75, 80]]))
    assert points.nose == pytest.approx((60, 50))
    assert points.chin == pytest.approx((60, 110))
    (left, upper), (right, same) = points.cheeks
    assert left + right == pytest.approx(120)
    assert left < 40 < 80 < right
    assert upper == same
    assert 40 < upper < 60
    turned = points_on_face(np.array([[80, 40], [80, 80], [60, 60], [40, 45], [40, 75]]))
    assert turned.chin == pytest.approx((10, 60))


def test_each_photograph_comes_as_often_as_it_is_to() -> None:
    often = AnnotatedImage(Path("a"), NONE, NONE, portrait=False, times=2)
    once = AnnotatedImage(Path("b"), NONE, NONE, portrait=True)
    assert of_kind([often, once]) == [[often, often], [once]]


def test_resuming_needs_a_checkpoint(tmp_path: Path, run_script) -> None:
    done = run_script(
        "-m", "facemask.train_face_detector", "--scenes", tmp_path, "--resume",
        "--weights", "none", "--output", tmp_path / "x.tflite",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("[ERROR]")
    assert done.stderr.count("\n") == 1
    assert "x.weights.h5: no such file" in done.stderr


@pytest.mark.parametrize("option", ["--start", "--keep-weights"])
def test_weights_are_not_where_the_checkpoint_grows_and_goes(tmp_path: Path, option: str) -> None:
    weights = tmp_path / "x.weights.h5"
    weights.write_bytes(b"dear")
    arguments = ["--scenes", str(tmp_path), "--weights", "none", option, str(weights)]
    with pytest.raises(FacemaskError, match=f"x.weights.h5: is where .* give another {option}"):
        train_face_detector.main([*arguments, "--output", str(tmp_path / "x.tflite")])
    assert weights.read_bytes() == b"dear"
