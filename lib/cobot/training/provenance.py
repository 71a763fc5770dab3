"""What an adapter's card says of its training; no name of a file or patient is in it."""

from cobot.adapters.card import AdapterCard
from cobot.sam.frame import SAM_MEAN, SAM_STD
from cobot.sam.weights import LoadedSam
from cobot.training.request import TrainingRequest
from cobot.training.training_data import TrainingData


def training_card(
    request: TrainingRequest, base: LoadedSam, data: TrainingData, run: str, side_px: int
) -> AdapterCard:
    """The card of an adapter before it is measured.

    Args:
        request: what was asked.
        base: the weights.
        data: what was learnt from; images are named by their SHA-256.
        run: fingerprint of the training.
        side_px: of the encoder's input.
    """
    task = request.task
    return AdapterCard(
        encoder=base.shape.name,
        base_sha256=base.sha256,
        window={name: str(task.windows.get(name, "auto")) for name in task.labels.values()},
        normalisation={"scale": 255, "mean": list(SAM_MEAN), "std": list(SAM_STD)},
        image_size_px=side_px,
        slice_axis=task.cut,
        labels={name: value for value, name in task.labels.items()},
        recipe={**request.recipe.to_dict(), "run": run},
        dataset=task.name,
        image_hashes=data.train.image_hashes,
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
