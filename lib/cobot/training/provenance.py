"""What an adapter's card says of its training; no name of a file or patient is in it."""

from collections.abc import Mapping

from cobot.adapters.card import AdapterCard
from cobot.sam.frame import SAM_MEAN, SAM_STD
from cobot.sam.segmenter import SliceSegmenter
from cobot.training.request import TrainingRequest
from cobot.training.training_data import TrainingData


def training_card(
    request: TrainingRequest,
    plain: SliceSegmenter,
    data: TrainingData,
    extra: Mapping[str, object],
    beginning: AdapterCard | None = None,
) -> AdapterCard:
    """The card of an adapter before it is measured.

    Args:
        request: what was asked.
        plain: the base, at the side and precision of the training.
        data: what was learnt from; images are named by their SHA-256.
        extra: more to say of how, such as the run's fingerprint.
        beginning: of the adapter that is gone on with; what it has learnt from counts too.
    """
    before = beginning.image_hashes if beginning else ()
    learnt_from = tuple(dict.fromkeys((*data.train.image_hashes, *before)))
    task, blocks = request.task, request.adapter.blocks
    return AdapterCard(
        encoder=plain.base.shape.name,
        base_sha256=plain.base_sha256,
        window={name: str(task.windows.get(name, "auto")) for name in task.labels.values()},
        normalisation={"scale": 255, "mean": list(SAM_MEAN), "std": list(SAM_STD)},
        image_size_px=plain.side_px,
        slice_axis=task.cut,
        labels={name: value for value, name in task.labels.items()},
        recipe={
            **request.recipe.to_dict(),
            "blocks": "all" if blocks is None else list(blocks),
            "precision": plain.precision,
            **extra,
        },
        dataset=task.name,
        image_hashes=learnt_from,
        seed=request.seed,
        split={
            "train": len(data.split.train),
            "validation": len(data.split.validation),
            "validation_image_hashes": list(data.validation.image_hashes),
            "held_out": data.split.held_out,
            "note": data.split.note,
        },
        parent=request.begin_with,
    )
