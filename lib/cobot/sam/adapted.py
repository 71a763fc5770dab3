"""A segmenter with an adapter, and the change from one adapter to another."""

import torch

from cobot.adapters.checkpoint import AdapterFile
from cobot.sam.adapted_sam import adapt_sam
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import LoadedSam


def adapted_segmenter(
    loaded: LoadedSam,
    file: AdapterFile,
    device: torch.device | str = "cpu",
    options: SegmenterOptions | None = None,
) -> SliceSegmenter:
    """A segmenter that runs a base with an adapter folded in.

    Args:
        loaded: the base; moved to the device, otherwise unchanged.
        file: the adapter.
        device: where to run.
        options: None or without a side, the adapter's own side is taken, the one it was trained at.

    Raises:
        AdapterError: the adapter was made for another base, or does not fit; both are named.
    """
    loaded.sam.to(device)
    return SliceSegmenter(loaded, device, options or SegmenterOptions(), adapt_sam(loaded, file))


def swap_adapter(segmenter: SliceSegmenter, file: AdapterFile | None) -> SliceSegmenter:
    """A segmenter on the same base with another adapter, or None for the base alone.

    Nothing is reloaded and `segmenter` is not changed: whoever is using it finishes with the
    adapter they began with. Callers replace their reference, which is atomic.

    Raises:
        AdapterError: as `adapted_segmenter`; the segmenter in use is untouched.
    """
    if file is None:
        return SliceSegmenter(segmenter.base, segmenter.device, segmenter.options)
    return adapted_segmenter(segmenter.base, file, segmenter.device, segmenter.options)
