"""Random crops of annotated photographs."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facemask.train_face_detector.samples import (
    VISIBLE,
    AnnotatedImage,
    Pool,
    _crop,
    covered_ratio,
    make_pools,
    random_sample,
)

from .conftest import NO_BOXES


def test_a_sample_moves_boxes_with_its_pixels(tmp_path: Path) -> None:
    image = np.full((200, 200, 3), 40, np.uint8)
    image[80:120, 70:110] = 220
    path = tmp_path / "square.png"
    cv2.imwrite(str(path), image)
    face = np.array([[70, 80, 110, 120]], np.float32)
    scene = AnnotatedImage(path, face, NO_BOXES, portrait=False)
    brighter = []
    for seed in range(30):
        view, faces, _ = random_sample(make_pools([scene]), 384, np.random.default_rng(seed))
        assert view.shape == (384, 384, 3)
        for box in faces:
            x1, y1, x2, y2 = np.rint(box).astype(int)
            inside = float(view[y1:y2, x1:x2].mean())
            brighter.append(inside > view[:y1].mean() if y1 > 20 else True)
    assert len(brighter) > 15
    assert np.mean(brighter) > 0.9


def test_a_pasted_portrait_hides_the_faces_behind_it(tmp_path: Path) -> None:
    white, grey = tmp_path / "white.png", tmp_path / "grey.png"
    cv2.imwrite(str(white), np.full((60, 60, 3), 255, np.uint8))
    cv2.imwrite(str(grey), np.full((640, 640, 3), 90, np.uint8))
    face = np.array([[10, 10, 50, 50]], np.float32)
    portrait = AnnotatedImage(white, face, NO_BOXES, portrait=True)
    tiles = [[x, y, x + 40, y + 40] for x in range(0, 640, 40) for y in range(0, 640, 40)]
    scene = AnnotatedImage(grey, np.array(tiles, np.float32), NO_BOXES, portrait=False)
    hidden = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        view, faces, ignored = _crop(
            portrait, (256, 256), (30.0, 90.0), VISIBLE, Pool([scene]), rng
        )
        bright = np.asarray((view > 240).all(axis=-1), np.uint8)
        if len(faces) < 2:
            continue  # not pasted, but on one colour
        own, *others = faces
        assert covered_ratio(bright, own) > 0.8
        assert all(covered_ratio(bright, box) < 0.2 for box in others)
        hidden += sum(covered_ratio(bright, box) > 0.2 for box in ignored)
    assert hidden > 20


def test_photographs_are_drawn_by_their_weight() -> None:
    often = AnnotatedImage(Path("a"), NO_BOXES, NO_BOXES, portrait=False, weight=3.0)
    rarely = AnnotatedImage(Path("b"), NO_BOXES, NO_BOXES, portrait=False, weight=1.0)
    portrait = AnnotatedImage(Path("c"), NO_BOXES, NO_BOXES, portrait=True)
    scenes, portraits = make_pools([often, portrait, rarely])
    assert portraits.images == [portrait]
    rng = np.random.default_rng(0)
    drawn = [scenes.draw(rng).path.name for _ in range(400)]
    assert drawn.count("a") == pytest.approx(300, abs=30)
    assert set(drawn) == {"a", "b"}
