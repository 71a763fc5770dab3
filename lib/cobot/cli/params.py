"""`cobot params`: how many parameters each method trains."""

import json
from typing import Annotated

import typer


def params(
    encoder: Annotated[str, typer.Option(help="vit_b, vit_l, vit_h or tiny.")] = "vit_b",
    rank: Annotated[int, typer.Option(help="LoRA's rank.")] = 4,
    width: Annotated[int, typer.Option(help="AdaptFormer's bottleneck.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Print the trainable parameters of the six methods, without the mask decoder."""
    counts = count_methods(encoder, rank, width)
    if as_json:
        typer.echo(json.dumps(counts))
        return
    _print_table(encoder, counts)


def count_methods(encoder: str, rank: int, width: int) -> dict[str, int]:
    """Return the count of each method by name, in the paper's order (Table 4).

    Raises:
        ConfigError: the encoder is unknown, or a size does not fit its method.
    """
    from cobot.adapters.config import METHOD_NAMES, AdapterConfig
    from cobot.adapters.count import count_parameters
    from cobot.sam.build import encoder_shape

    shape = encoder_shape(encoder)
    sizes = {"lora": rank, "adaptformer": width}
    configs = {name: AdapterConfig.named(name) for name in METHOD_NAMES}
    return {
        name: count_parameters(
            config.with_width(sizes[config.method]) if config.has_branch else config, shape
        )
        for name, config in configs.items()
    }


def _print_table(encoder: str, counts: dict[str, int]) -> None:
    """Print the counts with what COBOT adds to its plain method."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Trainable parameters on {encoder}, without the mask decoder")
    table.add_column("method")
    table.add_column("parameters", justify="right")
    table.add_column("added by COBOT", justify="right")
    for name, count in counts.items():
        plain, _, cobot = name.partition("+")
        table.add_row(name, f"{count:,}", f"+{count - counts[plain]:,}" if cobot else "")
    Console().print(table)
