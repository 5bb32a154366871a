import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemask.data.dataset import LabelledImages
from facemask.data.splits import (
    PARTS,
    Split,
    read_method,
    read_split,
    split_groups,
    split_images,
    split_path,
    write_split,
)
from facemask.errors import FacemaskError


def labelled(*labels: int, sources: tuple[int, ...] = ()) -> LabelledImages:
    """Images that are nothing but their numbers."""
    paths = tuple(Path(f"{number}.png") for number in range(len(labels)))
    return LabelledImages(
        paths=paths,
        boxes=(None,) * len(labels),
        labels=np.array(labels),
        sources=np.array(sources or [0] * len(labels)),
        originals=paths,
        digests=tuple(f"{number:064x}" for number in range(len(labels))),
        class_names=("with_mask", "without_mask"),
        source_names=("one", "two") if sources else ("one",),
    )


def parts(split: Split) -> list[list[int]]:
    return [getattr(split, name).tolist() for name in PARTS]


def test_the_parts_share_no_image_and_keep_the_classes_proportions() -> None:
    images = labelled(*[0] * 20, *[1] * 10)
    split = split_images(images, np.arange(30), test_size=0.2, validation_size=0.25, seed=1)
    assert sorted(number for part in parts(split) for number in part) == list(range(30))
    counts = [np.bincount(images.labels[part]).tolist() for part in parts(split)]
    assert counts == [[12, 6], [4, 2], [4, 2]]


def test_a_group_stays_together_also_across_classes() -> None:
    images = labelled(*[0, 1] * 50)
    groups = np.arange(100) // 10  # ten groups of five images of each class
    split = split_images(images, groups, 0.2, 0.25, seed=3)
    assert [len(part) for part in parts(split)] == [60, 20, 20]
    of_groups = [set(groups[part].tolist()) for part in parts(split)]
    assert sum(map(len, of_groups)) == len(set.union(*of_groups)) == 10


def test_a_large_group_goes_where_there_is_room() -> None:
    images = labelled(*[0, 1] * 50)
    groups = np.array([0] * 60 + list(range(1, 41)))
    for seed in range(5):
        split = split_images(images, groups, 0.2, 0.25, seed)
        assert set(range(60)) <= set(split.train.tolist())
        assert [len(part) for part in parts(split)] == [60, 20, 20]


def test_each_source_has_its_share_of_each_part() -> None:
    images = labelled(*[0] * 40, *[1] * 40, *[0] * 10, *[1] * 10, sources=(0,) * 80 + (1,) * 20)
    split = split_images(images, np.arange(100), 0.2, 0.25, seed=0)
    assert np.bincount(images.sources[split.test]).tolist() == [16, 4]
    assert np.bincount(images.sources[split.validation]).tolist() == [16, 4]


def test_the_same_seed_gives_the_same_split() -> None:
    images = labelled(*[0] * 20, *[1] * 10)
    first, again, other = (split_images(images, np.arange(30), 0.2, 0.1, s) for s in (1, 1, 2))
    assert parts(first) == parts(again)
    assert parts(first) != parts(other)


@pytest.mark.parametrize("test_size", [0.001, 0.999])
def test_no_part_is_left_empty(test_size: float) -> None:
    images = labelled(*[0] * 20, *[1] * 10)
    split = split_images(images, np.arange(30), test_size, 0.1, seed=0)
    least = split.test if test_size < 0.5 else split.train
    assert images.labels[least].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "groups", "test_size"),
    [
        ([0] * 20 + [1], range(21), 0.2),
        ([0] * 20 + [1] * 2, range(22), 0.2),
        ([0] * 20 + [1] * 10, [7] * 30, 0.2),
    ],
    ids=["one", "two", "one group"],
)
def test_a_split_that_cannot_be_made_is_one_line(labels, groups, test_size: float) -> None:
    with pytest.raises(FacemaskError, match="one: expected images of each class for each") as error:
        split_images(labelled(*labels), np.array(groups), test_size, 0.1, seed=0)
    assert "\n" not in str(error.value)
    assert f"all images make {len(set(groups))} groups" in str(error.value)


def test_a_split_is_written_and_repeated_under_other_names_and_in_other_order(
    tmp_path: Path,
) -> None:
    images = labelled(*[0] * 20, *[1] * 10)
    split = split_images(images, np.arange(30), 0.2, 0.25, seed=1)
    path = split_path(tmp_path / "m.keras")
    assert path == tmp_path / "m.split.json"
    write_split(path, images, split, 1)
    assert json.loads(path.read_text())["method"] == "grouped"
    assert read_split(path)[images.digests[split.test[0]]] == "test"

    renamed = replace(labelled(*[1] * 10, *[0] * 20), digests=images.digests[::-1])
    again = split_images(renamed, np.arange(30), 0.2, 0.25, seed=7, known=read_split(path))
    assert {29 - index for index in again.test} == set(split.test.tolist())


def test_photographs_that_a_recorded_split_lacks_fill_up_its_parts() -> None:
    """A second source, unknown, gets its ratios; what is known stays, whatever the seed."""
    images = labelled(*[0, 1] * 30, *[0, 1] * 50, sources=(0,) * 60 + (1,) * 100)
    known = {sha: "test" if index < 6 else "train" for index, sha in enumerate(images.digests[:58])}
    known |= dict.fromkeys(images.digests[58:60], "validation")
    split, again, other = (
        split_images(images, np.arange(160), 0.2, 0.25, seed, known=known) for seed in (1, 1, 2)
    )
    assert parts(split) == parts(again) != parts(other)
    for each in (split, other):
        names = [{n for n in part if n < 60} for part in parts(each)]
        assert names == [set(range(6, 58)), {58, 59}, set(range(6))]
        assert [sum(n >= 60 for n in part) for part in parts(each)] == [60, 20, 20]


def test_a_twin_of_a_known_test_image_is_never_trained_on() -> None:
    images = labelled(*[0, 1] * 20)
    names = ["train", "train", "validation", "validation", "test", "test"]
    known = dict(zip(images.digests[:6], names, strict=True))
    groups = np.arange(40)
    groups[[0, 4, 6, 7]] = 100  # of train and test: the new ones go to the test part
    groups[[1, 3, 8, 9]] = 101  # of train and validation
    groups[[2, 10]] = 102
    for seed in range(5):
        split = split_images(images, groups, 0.2, 0.25, seed, known=known)
        assert {0, 1} <= set(split.train.tolist())
        assert {2, 3, 8, 9, 10} <= set(split.validation.tolist())
        assert {4, 5, 6, 7} <= set(split.test.tolist())
        assert sorted(number for part in parts(split) for number in part) == list(range(40))


@pytest.mark.parametrize(
    ("record", "method"),
    [
        ({"method": "random"}, "random"),
        ({"method": "grouped"}, "grouped"),
        ({"method": "x.split.json"}, "grouped"),
        ({}, "grouped"),
    ],
)
def test_the_method_of_a_record(tmp_path: Path, record: dict[str, str], method: str) -> None:
    path = tmp_path / "m.split.json"
    path.write_text(json.dumps({"parts": {}, **record}))
    assert read_method(path) == method


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"parts": 3}', '{"parts": {"a": "rest"}}'])
def test_what_is_no_record_of_a_split_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.split.json"
    with pytest.raises(FacemaskError, match="can't be read: No such file"):
        read_split(path)
    path.write_text(text)
    with pytest.raises(FacemaskError, match=r"m\.split\.json: expected a split as training writes"):
        read_split(path)


def test_groups_without_classes_stay_together_and_each_part_gets_its_share() -> None:
    groups = np.repeat(np.arange(50), 2)
    parts = split_groups(groups, 0.2, 0.1, seed=3)
    assert parts[::2] == parts[1::2]
    assert (parts.count("test"), parts.count("validation"), parts.count("train")) == (20, 8, 72)
    assert split_groups(groups, 0.2, 0.1, seed=3) == parts
    assert split_groups(groups, 0.2, 0.1, seed=4) != parts


def test_three_groups_are_enough_for_three_parts() -> None:
    assert sorted(split_groups(np.array([7, 7, 7, 7, 1, 2]), 0.2, 0.1, seed=0)).count("train") >= 1
    assert set(split_groups(np.array([0, 1, 2]), 0.2, 0.1, seed=0)) == {
        "train", "validation", "test",
    }  # fmt: skip


def test_two_groups_are_too_few_for_three_parts() -> None:
    with pytest.raises(FacemaskError, match="at least 3 images that are no copies"):
        split_groups(np.array([0, 0, 1]), 0.2, 0.1, seed=0)
