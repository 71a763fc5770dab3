"""`cobot adapters`: the versions in a store, which one is active, in from and out to files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from torch import Tensor

    from cobot.adapters.checkpoint import AdapterFile
    from cobot.adapters.store import AdapterStore, AdapterVersion

app = typer.Typer(help="List, activate, roll back, import and export adapters.")

Store = Annotated[Path, typer.Option("--store", help="Folder of the adapter versions.")]
Version = Annotated[str, typer.Argument(help="A version such as v0003.")]
Weights = Annotated[
    Path, typer.Option("--weights", help="The base's weights, .pth or safetensors.")
]


@app.command("list")
def list_versions(store: Store) -> None:
    """Print every version, oldest first; the active one is marked."""
    from rich.console import Console
    from rich.table import Table

    opened = _open(store)
    active = opened.active()
    table = Table(title=f"Adapters in {store}")
    for column in ("", "version", "method", "V", "base", "data set", "labels", "parent"):
        table.add_column(column)
    for version in opened.versions():
        table.add_row("*" if version.name == active else "", *_row(version))
    Console().print(table)


@app.command()
def show(store: Store, version: Annotated[str, typer.Argument()] = "active") -> None:
    """Print a version's settings and card as JSON; without a version, the active one's."""
    found = _open(store).show(_resolve(store, version))
    document = {
        "version": found.name,
        "method": found.config.name,
        "adapter": found.config.to_dict(),
        "card": found.card.to_dict(),
    }
    typer.echo(json.dumps(document, indent=2))


@app.command()
def activate(version: Version, store: Store) -> None:
    """Make a version the one that the server uses."""
    _open(store).activate(version)
    typer.echo(f"{version} is active.")


@app.command()
def rollback(store: Store) -> None:
    """Go back to the version that was active before."""
    typer.echo(f"{_open(store).rollback()} is active again.")


@app.command()
def compare(first: Version, second: Version, store: Store) -> None:
    """Print what two versions differ in, their Dice, and whether that may be compared."""
    from rich.console import Console

    from cobot.cli.compare import comparison

    opened = _open(store)
    shown = [opened.show(_resolve(store, version)) for version in (first, second)]
    table, remark = comparison(shown[0], shown[1])
    Console().print(table)
    typer.echo(remark)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="LoRA safetensors with w_a_### and w_b_###.")],
    store: Store,
    weights: Weights,
    encoder: Annotated[str, typer.Option(help="vit_b, vit_l, vit_h or tiny.")] = "vit_b",
) -> None:
    """Add a LoRA file made elsewhere as the next version; the file names no base, you do."""
    from cobot.adapters.card import AdapterCard
    from cobot.adapters.importer import import_lora

    card = AdapterCard(encoder, _sha256(weights), recipe={"imported_from": file.name})
    imported = import_lora(file, card)
    state = _read_state(weights)
    _check_fits(imported, state)
    _check_encoder(encoder, state, weights)
    version = _open(store).publish(imported)
    typer.echo(f"{file.name} is {version.name}; make it the active one with activate.")


@app.command("export")
def export_file(
    store: Store,
    weights: Weights,
    output: Annotated[Path, typer.Option(help="The .pth file to write.")],
    version: Annotated[
        str, typer.Argument(help="A version; without it, the active one.")
    ] = "active",
) -> None:
    """Write base and LoRA adapter as one plain SAM file, for other tools."""
    from cobot.adapters.checkpoint import check_base
    from cobot.adapters.export import export_merged

    name = _resolve(store, version)
    adapter = _open(store).read(name)
    check_base(adapter.card, adapter.card.encoder, _sha256(weights))
    output.parent.mkdir(parents=True, exist_ok=True)
    export_merged(_read_state(weights), adapter, output)
    typer.echo(f"{name} merged into {output}.")


def _open(store: Path) -> "AdapterStore":
    """Return the store."""
    from cobot.adapters.store import AdapterStore

    return AdapterStore(store)


def _resolve(store: Path, version: str) -> str:
    """Return a version's name; "active" stands for the active one."""
    from cobot.errors import AdapterError

    if version != "active":
        return version
    active = _open(store).active()
    if active is None:
        raise AdapterError(f"No adapter is active in {store}: name a version, or activate one.")
    return active


def _row(version: "AdapterVersion") -> tuple[str, ...]:
    """Return a version's line of the list."""
    card = version.card
    return (
        version.name,
        version.config.name,
        str(version.config.width),
        card.encoder,
        card.dataset or "-",
        ", ".join(card.labels) or "-",
        card.parent or "-",
    )


def _check_fits(adapter: "AdapterFile", state: "dict[str, Tensor]") -> None:
    """Refuse an adapter whose tensors do not fit the base, before it is published."""
    from cobot.adapters.export import merge_state

    merge_state(state, adapter)


def _check_encoder(name: str, state: "dict[str, Tensor]", weights: Path) -> None:
    """Refuse weights of another encoder: the version would name one that it never fits."""
    from cobot.errors import AdapterError
    from cobot.sam.build import ENCODERS, encoder_shape

    wanted = encoder_shape(name)
    widths = [
        value.shape[1]
        for key, value in state.items()
        if key.startswith("image_encoder.blocks.") and key.endswith(".attn.qkv.weight")
    ]
    found = (len(widths), widths[0])
    if found == (wanted.depth, wanted.embed_dim):
        return
    likely = [one.name for one in ENCODERS.values() if (one.depth, one.embed_dim) == found]
    theirs = f"say --encoder {likely[0]}, whose weights these are" if likely else "name theirs"
    raise AdapterError(
        f"{weights} has {found[0]} blocks of width {found[1]}, expected {wanted.depth} of "
        f"{wanted.embed_dim} for --encoder {name}. Give {name}'s weights, or {theirs}."
    )


def _read_state(weights: Path) -> "dict[str, Tensor]":
    """Return the base's tensors; a pickle is never run."""
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from cobot.errors import WeightsError

    try:
        if weights.suffix == ".safetensors":
            return dict(load_file(weights))
        return dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, pickle.UnpicklingError, SafetensorError) as error:
        raise WeightsError(f"{weights} cannot be read as SAM weights: {error}.") from error


def _sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    import hashlib

    from cobot.errors import WeightsError

    digest = hashlib.sha256()
    try:
        with path.open("rb") as source:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from error
    return digest.hexdigest()
