"""`cobot evaluate masks`: segmentations against the truth, with units and intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cobot.measures.mask_pairs import MaskPairs


def masks(
    prediction: Annotated[
        Path, typer.Argument(help="folder of masks, output of cobot segment, or one mask")
    ],
    truth: Annotated[Path, typer.Argument(help="folder of true masks, or one")],
    out: Annotated[Path, typer.Option(help="CSV and JSON go here")] = Path("out/masks"),
    labels: Annotated[str, typer.Option(help="measure these only: 1=liver,2=spleen")] = "",
    tolerance_mm: Annotated[
        float, typer.Option(min=0.0, help="surfaces this near count as one, for surface Dice")
    ] = 2.0,
    resamples: Annotated[int, typer.Option(min=100, help="draws of cases for the interval")] = 2000,
    seed: Annotated[int, typer.Option(help="of those draws")] = 0,
) -> None:
    """Dice, surface Dice, HD95 and volume error per label and case, with 95 % intervals.

    Files are matched by the name of their case; beginnings image_ and label_ and suffixes do not
    count. Labels are matched by the names submitted with a correction, or in the files; files
    without names by value, or as --labels says. Where neither file holds a label the case does not
    count for it; where only one does, Dice and surface Dice are 0 and HD95 is the grid's diagonal.
    """
    from datetime import date

    from rich.console import Console
    from rich.progress import track

    from cobot.cli.evaluate_results import make_results_folder
    from cobot.measures.compare import compare_case, require_met, stated_rule
    from cobot.measures.interval import Bootstrap
    from cobot.measures.mask_pairs import require_one_grid
    from cobot.measures.summary import summarise
    from cobot.report.mask_scores import mask_table, write_mask_scores
    from cobot.training.task import parse_labels

    console = Console()
    found = _pairs(prediction, truth)
    said = parse_labels(labels) if labels else {}
    for pair in found.pairs:
        require_one_grid(pair.prediction, pair.truth)
    make_results_folder(out)
    cases = [
        compare_case(pair, stated_rule(pair.truth, said), tolerance_mm)
        for pair in track(found.pairs, description="comparing", console=console)
    ]
    if said:
        require_met(cases, list(said.values()))
    scores = [score for case in cases for score in case.scores]
    left_out = sorted({name for case in cases for name in case.left_out})
    bootstrap = Bootstrap(resamples, seed)
    rows = summarise(scores, bootstrap)
    setting = {
        "prediction": prediction.name,
        "truth": truth.name,
        "cases": len(cases),
        "truths_without_prediction": list(found.missing),
        "predictions_without_truth": list(found.extra),
        "labels_left_out": left_out,
        "tolerance_mm": tolerance_mm,
        "bootstrap_resamples": resamples,
        "bootstrap_seed": seed,
        "date": date.today().isoformat(),
    }
    write_mask_scores(scores, rows, setting, out)
    console.print(mask_table(rows), soft_wrap=True, markup=False)
    for what, names in (
        ("truths without a prediction (not in the figures)", found.missing),
        ("predictions without a truth", found.extra),
        ("labels that were not compared", left_out),
    ):
        if names:
            console.print(f"{len(names)} {what}: {_some(names)}", soft_wrap=True, markup=False)
    console.print(
        f"Surface Dice at {tolerance_mm:g} mm; 95 % intervals over cases ({resamples} draws, seed "
        f"{seed}). per_case.csv and summary.json are in {out}",
        soft_wrap=True,
        markup=False,
    )


def _pairs(prediction: Path, truth: Path) -> "MaskPairs":
    """By the names of files; of a batch's output by the names of its cases."""
    from cobot.batch.record import MANIFEST_NAME
    from cobot.measures.mask_pairs import mask_files, pair_cases, pair_masks
    from cobot.report.batch_cases import batch_masks

    if (prediction / MANIFEST_NAME).is_file():
        return pair_cases(batch_masks(prediction), mask_files(truth), truth)
    return pair_masks(prediction, truth)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
