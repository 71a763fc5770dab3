"""The image encoder against segment_anything's own, weights random.

    python scripts/bench_encoder_forms.py inference --rounds 5 --json encoder.json
    python scripts/bench_encoder_forms.py training --side 512
    python scripts/bench_encoder_forms.py inference --device cuda --batch 8

Inference: each size in fp32 and bf16. Training: gradients of LoRA on q and v by stock fp32 against
ours. `--depth` cuts the encoder to a few blocks for a quick look. See scripts/bench_rounds.py.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from bench_rounds import Row, Work, Wrong, compare_forms, matmul_flops_per_s, never
from cobot.adapters.attach import attach_adapters
from cobot.adapters.config import AdapterConfig
from cobot.sam.build import build_image_encoder, encoder_shape
from cobot.sam.compiled import compile_blocks
from cobot.sam.cuda_graph import record_encoder
from cobot.sam.encoder import encode_image
from cobot.sam.encoder_plan import choose_plan, cpu_is_fast_in_bf16
from cobot.sam.frame import SAM_MEAN, SAM_STD
from cobot.sam.frozen_base import cast_frozen
from cobot.sam.grey_patches import GreyPictures
from cobot.sam.prefix import encode_prefix, encode_suffix
from cobot.sam.prepared import PreparedEncoder, prepare_encoder
from rich.console import Console
from rich.table import Table
from segment_anything.modeling import ImageEncoderViT
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

LAST_HALF = "bf16, last half on a kept prefix"

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Case:
    """One encoder at one side, on one device.

    Attributes:
        name: of the encoder's shape.
        side_px: of the pictures; the encoder is built for it.
        batch: pictures at once.
        device: "cpu" or "cuda".
        depth: blocks kept, at least one of them global; None keeps all.
        rounds: of timing.
    """

    name: str
    side_px: int
    batch: int = 1
    device: str = "cpu"
    depth: int | None = None
    rounds: int = 5

    @property
    def title(self) -> str:
        """As it stands in tables."""
        cut = f", {self.depth} blocks" if self.depth else ""
        return f"{self.name} {self.side_px} px, {self.device}, batch {self.batch}{cut}"


@app.command()
def inference(
    sizes: Annotated[str, typer.Option(help="name:side, commas between")] = (
        "vit_b:1024,vit_b:512,tiny:256"
    ),
    batch: int = 1,
    device: str = "cpu",
    depth: int | None = None,
    rounds: int = 5,
    compiled: Annotated[bool, typer.Option(help="also with torch.compile")] = False,
    output: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Embeddings of grey slices, fp32 and bf16, against stock fp32 on three channels."""
    rows = []
    for size in sizes.split(","):
        name, side = size.split(":")
        case = Case(name, int(side), batch, device, depth, rounds)
        rows += inference_rows(case, compiled or device == "cuda")
    report(rows, output)


@app.command()
def training(
    name: str = "vit_b",
    side: int = 1024,
    batch: int = 1,
    device: str = "cpu",
    depth: int | None = None,
    rounds: int = 3,
    output: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Gradients of LoRA, against stock fp32."""
    report(training_rows(Case(name, side, batch, device, depth, rounds)), output)


def inference_rows(case: Case, compiled: bool = False, wrong: Wrong = never) -> list[Row]:
    """Stock fp32 against each of our forms at one size; on CUDA also against stock bf16."""
    torch.manual_seed(0)
    encoder = build(case).eval().requires_grad_(False)
    pictures, pixels = grey_pictures(case)
    stock: dict[str, Work] = {"stock fp32": lambda: encoder(pixels)}
    if case.device == "cuda":
        narrow = deepcopy(encoder).bfloat16()
        stock["stock bf16"] = lambda: narrow(pixels.bfloat16())
    flops = count_flops(case) * case.batch
    rows = []
    with torch.inference_mode():
        forms = list(inference_forms(encoder, pictures, case, compiled))
        dtypes = {dtype for _, dtype, _ in forms}
        rates = {dtype: matmul_flops_per_s(dtype, case.device) for dtype in dtypes}
        for against, reference in stock.items():
            works = {f"{case.title}: {form} / {against}": ours for form, _, ours in forms}
            found = compare_forms(reference, works, case.rounds, case.device, wrong)
            rows += [
                replace(row, limit_s=flops / rates[dtype])
                for row, (_, dtype, _) in zip(found, forms, strict=True)
            ]
    return rows


def inference_forms(
    encoder: ImageEncoderViT, pictures: GreyPictures, case: Case, compiled: bool
) -> Iterator[tuple[str, torch.dtype, Work]]:
    """Name, dtype and work of each form; no bf16 on a CPU that takes a minute for it."""
    for name, dtype in DTYPES.items():
        if dtype == torch.bfloat16 and case.device == "cpu" and not cpu_is_fast_in_bf16():
            continue
        prepared = prepare_encoder(encoder, case.side_px, dtype)
        yield name, dtype, _embed(prepared, pictures)
        if case.device == "cuda":
            yield f"{name} graph", dtype, _replay(prepared, pictures)
        if compiled:
            made = compile_blocks(prepared, case.batch)
            cost = ", ".join(f"{kind} {spent:.0f} s" for kind, spent in made.seconds.items())
            yield f"{name} compiled ({cost})", dtype, _embed(made.encoder, pictures)
            if case.device == "cuda":
                yield f"{name} compiled graph", dtype, _replay(made.encoder, pictures)


def training_rows(case: Case, every_form: bool = True, wrong: Wrong = never) -> list[Row]:
    """Gradients by stock fp32, all blocks adapted, against ours.

    In bf16 and with the last half of the blocks adapted on a kept prefix; with every form also in
    fp32 and with checkpoints. Adapters of the first half are at their start, where they change
    nothing: so the gradients of the last half must be the same in every form.
    """
    _, pixels = grey_pictures(case)
    whole = with_lora(case)
    narrow, late = _narrowed(whole), _narrowed(with_lora(case, late=True))
    first = len(late.blocks) // 2
    with torch.autocast(case.device, torch.bfloat16):
        kept = encode_prefix(late, pixels, first).bfloat16()
    again = choose_plan(pixels.device, torch.bfloat16, training=True, checkpointing=True)
    forms: dict[str, tuple[ImageEncoderViT, Work]] = {
        "bf16": (narrow, lambda: encode_image(narrow, pixels)),
        LAST_HALF: (late, lambda: encode_suffix(late, kept, first)),
    }
    if every_form:
        forms["fp32"] = (whole, lambda: encode_image(whole, pixels))
        forms["bf16, checkpoints"] = (narrow, lambda: encode_image(narrow, pixels, again))
    count = sum(one.numel() for one in late.parameters() if one.requires_grad)
    stock = _gradients(whole, lambda: whole(pixels), (case.device, False, count))
    works = {
        f"LoRA, {case.title}: {name} / stock fp32": _gradients(
            model, embed, (case.device, "bf16" in name, count)
        )
        for name, (model, embed) in forms.items()
    }
    return compare_forms(stock, works, case.rounds, case.device, wrong)


def build(case: Case) -> ImageEncoderViT:
    """The encoder with positions and biases that matter, maybe cut to fewer blocks."""
    shape = replace(encoder_shape(case.name), image_size_px=case.side_px)
    if case.depth:
        shape = replace(shape, depth=case.depth, global_attn_indexes=(case.depth - 1,))
    with torch.device(case.device):
        encoder = build_image_encoder(shape)
    for name, parameter in encoder.named_parameters():
        if "pos" in name or name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    return encoder


def with_lora(case: Case, late: bool = False) -> ImageEncoderViT:
    """The encoder with LoRA on q and v of all blocks or of the last half.

    That of the last half is random, the same in both.
    """
    torch.manual_seed(0)
    encoder = build(case)
    depth = len(encoder.blocks)
    half = range(depth // 2, depth)
    config = AdapterConfig.named("lora", blocks=tuple(half) if late else None)
    handle = attach_adapters(encoder, config, torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    for name, parameter in handle.parameters().items():
        if int(name.split(".")[1]) in half:
            nn.init.normal_(parameter, std=0.02)
    return encoder


def grey_pictures(case: Case) -> tuple[GreyPictures, torch.Tensor]:
    """Grey slices without padding, and the three channels that stock SAM gets."""
    generator = torch.Generator().manual_seed(1)
    side = case.side_px
    grey = torch.rand(case.batch, 1, side, side, generator=generator).to(case.device)
    mean, std = (
        torch.tensor(values).reshape(1, 3, 1, 1).to(grey) for values in (SAM_MEAN, SAM_STD)
    )
    return GreyPictures(grey, [(side, side)] * case.batch), (grey * 255 - mean) / std


def count_flops(case: Case) -> int:
    """Of the stock encoder for one picture: twice its multiplications."""
    shapes_only = replace(case, device="meta", batch=1)
    encoder = build(shapes_only).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        encoder(torch.empty(1, 3, case.side_px, case.side_px))
    return counter.get_total_flops()


def report(rows: list[Row], output: Path | None) -> None:
    """Print a table; write JSON if a path is given."""
    titles = ("item", "stock s", "ours s", "ratio (p25-p75)", "peak MB / stock", "error", "limit s")
    table = Table(*titles)
    for row in rows:
        table.add_row(
            row.item,
            f"{row.stock_s:.4g}",
            f"{row.ours_s:.4g}",
            f"{row.ratio:.2f} ({row.ratio_p25:.2f}-{row.ratio_p75:.2f}), {row.rounds} rounds",
            f"{row.peak_mb or 0:.0f} / {row.stock_peak_mb or 0:.0f}",
            f"{row.rel_err:.1e}, cosine {row.cosine:.5f}",
            "" if row.limit_s is None else f"{row.limit_s:.3g}",
        )
    Console(width=200).print(table)
    if output:
        output.write_text(json.dumps([asdict(row) for row in rows], indent=2), encoding="utf-8")


def _embed(prepared: PreparedEncoder, pictures: GreyPictures) -> Work:
    return lambda: prepared.embed(pictures)


def _replay(prepared: PreparedEncoder, pictures: GreyPictures) -> Work:
    recorded = record_encoder(prepared, len(pictures.grey))
    return lambda: recorded.embed(pictures)


def _narrowed(encoder: ImageEncoderViT) -> ImageEncoderViT:
    copied = deepcopy(encoder)
    cast_frozen(copied)
    return copied


def _gradients(encoder: ImageEncoderViT, embed: Work, how: tuple[str, bool, int]) -> Work:
    """All gradients of the trained parameters, for a fixed random direction of the embedding.

    Args:
        encoder: whose parameters.
        embed: gives the embedding.
        how: device; whether under autocast to bf16; how many of the last numbers are returned.
    """
    device, narrow, count = how
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    directions: list[torch.Tensor] = []

    def work() -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=narrow):
            embedding = embed()
        if not directions:
            generator = torch.Generator().manual_seed(2)
            directions.append(torch.randn(embedding.shape, generator=generator).to(device))
        found = torch.autograd.grad((embedding.float() * directions[0]).sum(), trained)
        return torch.cat([one.flatten() for one in found])[-count:]

    return work


if __name__ == "__main__":
    app()
