"""Masks of an encoder in bf16 against segment_anything's own in fp32, on real labelled slices.

    python scripts/bench_bf16_masks.py DATA_DIR

DATA_DIR holds image_X.nii.gz and label_X.nii.gz. Ends with 1 if they agree less than decision 4
asks of bf16. Also a gate of scripts/bench_speed.py. Needs trained weights, by default
`tiny`'s: with random ones masks are noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from cobot.planes import Slice
from cobot.prompts import Prompts, tight_box
from cobot.sam.answer import SliceEmbedding
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import LoadedSam, load_sam
from cobot.slicing import cut_slice
from cobot.training.clicks import centre_click
from cobot.training.evaluate import dice
from cobot.training.evaluate_prompts import CaseOptions, PromptedCase, read_case

SLICES_OF_A_CASE = 8
CASES = 6
LEAST_PX = 50
"""Of a structure on a slice; smaller ones are a matter of single pixels."""

LEAST_DICE = 0.995
LEAST_PROMPTS = 50


@dataclass(frozen=True, slots=True)
class MaskAgreement:
    """Dice between the two answers to each prompt.

    Attributes:
        prompts: how many.
        mean: over prompts.
        p5: the fifth percentile.
        least: of all.
    """

    prompts: int
    mean: float
    p5: float
    least: float

    @property
    def enough(self) -> bool:
        """Whether bf16 may stand in for fp32."""
        return self.mean >= LEAST_DICE and self.prompts >= LEAST_PROMPTS

    def __str__(self) -> str:
        """As it stands in tables."""
        return (
            f"{self.mean:.4f} over {self.prompts} prompts, 5th percentile {self.p5:.4f}, least "
            f"{self.least:.4f}"
        )


def main(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    encoder: str = "tiny",
    weights: Annotated[Path | None, typer.Option(help="file of trained weights")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Measure and print; end with 1 if it is not enough."""
    loaded = load_sam(encoder, weights)
    found = bf16_agreement(loaded, data, device)
    print(f"Dice of bf16 with fp32, {encoder} {loaded.sha256[:12]}, {device}: {found}")
    raise typer.Exit(int(not found.enough))


def bf16_agreement(loaded: LoadedSam, data: Path, device: str = "cpu") -> MaskAgreement:
    """Ask both about a box and a click for every structure of some slices.

    Args:
        loaded: a trained SAM.
        data: a folder of pairs image_X.nii.gz and label_X.nii.gz, or folders of such.
        device: "cpu" or "cuda".

    Raises:
        FileNotFoundError: there is no such pair.
    """
    narrow = SliceSegmenter(loaded, device, SegmenterOptions(precision="bf16"))
    scores = []
    for case in read_cases(data):
        for slice_, prompts in prompted_slices(case):
            (ours,) = narrow.embed([slice_], case.window, [prompts])
            frame = ours.frame
            pixels = frame.image(case.window.apply(slice_.pixels)).to(device)
            with torch.inference_mode():
                features = loaded.sam.image_encoder(pixels)
            stock = SliceEmbedding(features, frame, "")
            for one, other in zip(
                narrow.decode(ours, prompts), narrow.decode(stock, prompts), strict=True
            ):
                scores.append(dice(one.mask, other.mask))
    # Two empty masks agree.
    agreed = np.nan_to_num(scores, nan=1.0)
    return MaskAgreement(
        prompts=len(agreed),
        mean=float(agreed.mean()),
        p5=float(np.percentile(agreed, 5)),
        least=float(agreed.min()),
    )


def read_cases(data: Path) -> Iterator[PromptedCase]:
    """Some cases, spread over all that are found."""
    images = sorted(data.rglob("image_*.nii.gz"))
    if not images:
        raise FileNotFoundError(f"{data} holds no image_*.nii.gz; give a folder of labelled cases.")
    for image in images[:: -(-len(images) // CASES)]:
        label = image.with_name(image.name.replace("image_", "label_"))
        yield read_case(image, label, CaseOptions({}))


def prompted_slices(case: PromptedCase) -> Iterator[tuple[Slice, list[Prompts]]]:
    """Slices spread over the labelled ones, each with a box and a click for every structure."""
    axis = case.plane.axis
    others = tuple(other for other in range(3) if other != axis)
    labelled = np.flatnonzero((case.truth.voxels > 0).any(axis=others))
    chosen = labelled[np.linspace(0, len(labelled) - 1, SLICES_OF_A_CASE).round().astype(int)]
    for index in np.unique(chosen).tolist():
        values = case.plane.picture(case.truth.voxels, index)
        masks = [values == value for value in np.unique(values[values > 0])]
        prompts = [
            prompt for mask in masks if mask.sum() >= LEAST_PX for prompt in box_and_click(mask)
        ]
        if prompts:
            yield cut_slice(case.volume, case.plane, index), prompts


def box_and_click(mask: np.ndarray) -> list[Prompts]:
    """The two ways to ask for one structure."""
    click = centre_click(mask)
    xy = np.array([[click.x_px, click.y_px]], np.float64)
    return [Prompts(box_xyxy=tight_box(mask)), Prompts(points_xy=xy, positive=np.array([True]))]


if __name__ == "__main__":
    typer.run(main)
