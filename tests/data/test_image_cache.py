from pathlib import Path

import numpy as np
import pytest
from facemask.data.image_cache import ImageCache, read_uncached

from facemask.data.batches import batches
from facemask.data.dataset import load_labelled_images
from facemask.errors import FacemaskError

from ..data.test_dataset import write_class


def test_a_cached_image_is_the_decoded_one_and_needs_its_file_no_more(tmp_path: Path) -> None:
    write_class(tmp_path / "set" / "a", 3, 250)
    write_class(tmp_path / "set" / "b", 3, 5)
    images = load_labelled_images([tmp_path / "set"])
    cache = ImageCache(tmp_path / "cache")
    everything = np.arange(len(images))
    plain = batches(images, everything, (8, 8), 6, augmentation="face", seed=1)[0]
    cached = batches(images, everything, (8, 8), 6, augmentation="face", seed=1, read=cache.read)[0]
    for one, other in zip(plain, cached, strict=True):
        assert np.array_equal(one, other)
    decoded = read_uncached(images, 0)
    for path in images.paths:
        path.unlink()
    assert np.array_equal(ImageCache(tmp_path / "cache").read(images, 0), decoded)
    with pytest.raises(FacemaskError, match="no such image"):
        read_uncached(images, 0)


def test_a_damaged_entry_is_written_again(tmp_path: Path) -> None:
    write_class(tmp_path / "set" / "a", 1, 250)
    write_class(tmp_path / "set" / "b", 1, 5)
    images = load_labelled_images([tmp_path / "set"])
    cache = ImageCache(tmp_path / "cache")
    image = cache.read(images, 0)
    (entry,) = (tmp_path / "cache").glob("*/*.npy")
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-5])
    assert np.array_equal(cache.read(images, 0), image)
    assert entry.read_bytes() == whole


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FacemaskError, match="file/cache: can't be a cache"):
        ImageCache(tmp_path / "file" / "cache")
