"""A SAM with its position tables cut to another input side, once and for all."""

import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F

from cobot.errors import WeightsError
from cobot.sam.build import EncoderShape, build_sam
from cobot.sam.encoder import position_table


@torch.no_grad()
def at_another_side(sam: Sam, shape: EncoderShape) -> Sam:
    """A copy whose tables fit `shape`, as interpolation at every use would give them.

    Args:
        sam: a SAM that differs from `shape` in its side alone.
        shape: the side that is wanted.

    Raises:
        WeightsError: something but a position table differs.
    """
    wanted = build_sam(shape)
    state = sam.state_dict()
    for name, like in wanted.state_dict().items():
        if state[name].shape != like.shape:
            state[name] = _resized(name, state[name], like)
    wanted.load_state_dict(state)
    return wanted


def _resized(name: str, table: Tensor, like: Tensor) -> Tensor:
    if name.endswith("pos_embed"):
        return position_table(table, like.shape[1])
    if name.endswith(("rel_pos_h", "rel_pos_w")):
        return F.interpolate(table.T[None], size=len(like), mode="linear")[0].T
    raise WeightsError(
        f"{name} has shape {tuple(table.shape)} where {tuple(like.shape)} is wanted, and is no "
        "position table: the two models differ in more than their side."
    )
