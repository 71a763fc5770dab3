"""Objects nobody drew: regions of a real slice that a click could mean.

Seven organs teach a model seven organs. Regions of equal grey, at several scales, teach it "the
thing under the click".
"""

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage
from skimage.segmentation import felzenszwalb

SMALLEST_PX = 12
LARGEST_FRACTION = 0.4
MAX_OBJECTS = 255


def superpixel_objects(
    unit: Float32[np.ndarray, "row col"], rng: np.random.Generator
) -> UInt8[np.ndarray, "row col"]:
    """Graph-based regions (Felzenszwalb and Huttenlocher 2004) at a random scale.

    Args:
        unit: windowed picture, 0 to 1.
        rng: source of randomness.

    Returns:
        0 for none, 1 to 255 for objects.
    """
    scale = float(np.exp(rng.uniform(np.log(20), np.log(300))))
    regions = felzenszwalb(unit, scale=scale, sigma=rng.uniform(0.3, 1.2), min_size=SMALLEST_PX)
    return _as_objects(regions + 1, unit)


def grey_band_objects(
    unit: Float32[np.ndarray, "row col"], rng: np.random.Generator
) -> UInt8[np.ndarray, "row col"]:
    """Connected regions of one grey band after smoothing: thresholds at random levels.

    Args:
        unit: windowed picture, 0 to 1.
        rng: source of randomness.

    Returns:
        0 for none, 1 to 255 for objects.
    """
    smooth = ndimage.gaussian_filter(unit, rng.uniform(0.4, 2.0))
    levels = np.quantile(smooth[unit > 0], np.sort(rng.uniform(0.05, 0.97, rng.integers(2, 6))))
    bands = np.digitize(smooth, levels)
    regions = np.zeros(unit.shape, np.int64)
    for band in np.unique(bands):
        found, count = ndimage.label(ndimage.binary_opening(bands == band))
        regions = np.where(found > 0, found + regions.max(), regions) if count else regions
    return _as_objects(regions, unit)


def _as_objects(
    regions: np.ndarray, unit: Float32[np.ndarray, "row col"]
) -> UInt8[np.ndarray, "row col"]:
    """Keep regions of a useful size that are not black, numbered from 1, largest first."""
    count = regions.max() + 1
    area = np.bincount(regions.ravel(), minlength=count)
    shown = np.bincount(regions.ravel(), weights=unit.ravel() > 0, minlength=count)
    useful = (area >= SMALLEST_PX) & (area <= LARGEST_FRACTION * unit.size) & (shown > area / 2)
    useful[0] = False
    order = np.flatnonzero(useful)[np.argsort(-area[useful])][:MAX_OBJECTS]
    numbers = np.zeros(count, np.uint8)
    numbers[order] = np.arange(1, len(order) + 1)
    return numbers[regions]
