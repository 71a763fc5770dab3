"""Read boxes as a user writes them: LABEL=i0,j0,k0,i1,j1,k1."""

from collections.abc import Sequence

import numpy as np

from cobot.batch.prompt_file import ANY_CASE, PromptFile, one_line_name
from cobot.errors import PromptError
from cobot.prompts import ObjectPrompts
from cobot.volume import Volume


def parse_boxes(texts: Sequence[str], volume: Volume) -> tuple[ObjectPrompts, ...]:
    """One object for each text; the two corners may come in any order.

    Raises:
        PromptError: not LABEL=six whole numbers, a label that is not one line or given twice, or
            outside the volume.
    """
    objects = tuple(_parse_box(text) for text in texts)
    labels = [target.label for target in objects]
    for label in labels:
        if labels.count(label) > 1:
            raise PromptError(f"--box names {label!r} twice; give each object its own label.")
    for target in objects:
        target.require_inside(volume)
    return objects


def box_prompts(texts: Sequence[str]) -> PromptFile:
    """The same as prompts of every image; several boxes of one label belong together.

    Raises:
        PromptError: not LABEL=six whole numbers, or a label that is not one line.
    """
    boxes: dict[str, list[object]] = {}
    for text in texts:
        target = _parse_box(text)
        if target.box_ijk is not None:
            boxes.setdefault(target.label, []).append(target.box_ijk.tolist())
    objects = [{"label": label, "boxes": some} for label, some in boxes.items()]
    return PromptFile.model_validate({"cases": {ANY_CASE: {"objects": objects}}})


def _parse_box(text: str) -> ObjectPrompts:
    label, equals, numbers = text.partition("=")
    try:
        corners = np.array([int(part) for part in numbers.split(",")]).reshape(2, 3)
    except ValueError:
        corners = None
    if corners is None or not label.strip() or not equals:
        raise PromptError(
            f"--box {text!r} cannot be read; expected LABEL=i0,j0,k0,i1,j1,k1 with voxel indices "
            "of two opposite corners, such as --box spleen=20,60,8,70,110,20."
        )
    box = np.stack([corners.min(axis=0), corners.max(axis=0)])
    try:
        name = one_line_name(label.strip())
    except ValueError as error:
        raise PromptError(f"--box {text!r}: {error}.") from None
    return ObjectPrompts(label=name, box_ijk=box)
