"""The learnt parts: where each label lies on an embedding, whether it is there, and its tokens."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cobot.auto.settings import PrompterShape
from cobot.sam.prompt_map import PEAK_LOGIT


@dataclass(frozen=True, slots=True, eq=False)
class LabelGuess:
    """What is known of every label of a slice before the decoder is asked.

    Attributes:
        presence: logit of the label being on the slice.
        shown: mask logits within ±6, as the decoder is shown them.
    """

    presence: Float[Tensor, "b labels"]
    shown: Float[Tensor, "b labels h w"]


@final
class LabelPrompter(nn.Module):
    """For each label some tokens, a guess of its mask from the embedding, and its presence.

    The guess is made at twice the embedding's side by two convolutions that all labels share, and
    goes to the decoder as a mask prompt. `carried` says, label by label, how much of the guess is
    added to the decoder's answer. Presence reads the shared channels where the guess lies.
    """

    def __init__(self, shape: PrompterShape, labels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Parameter(
            torch.randn(labels, shape.tokens, shape.width, generator=generator)
        )
        self.enter = nn.Conv2d(shape.width, shape.hidden, 3, padding=1)
        self.norm = nn.GroupNorm(1, shape.hidden)
        self.widen = nn.Conv2d(shape.hidden, shape.hidden, 3, padding=2, dilation=2)
        self.guess = nn.Conv2d(shape.hidden, 4 * labels, 1)
        self.presence = nn.Parameter(torch.zeros(labels, shape.hidden))
        self.presence_bias = nn.Parameter(torch.zeros(labels))
        self.presence_peak = nn.Parameter(torch.full((labels,), 0.5))
        self.carried = nn.Parameter(torch.full((labels,), 0.5))
        # Most places belong to no label.
        for layer, start in ((self.enter, 0.0), (self.widen, 0.0), (self.guess, -2.0)):
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
            layer.bias = nn.Parameter(torch.full((layer.out_channels,), start))

    def forward(self, features: Float[Tensor, "b c g g"]) -> LabelGuess:
        """Look for every label on embedded slices."""
        hidden = F.gelu(self.norm(self.enter(features)))
        hidden = hidden + F.gelu(self.widen(hidden))
        fine = F.pixel_shuffle(self.guess(hidden), 2)
        shown = PEAK_LOGIT * torch.tanh(fine / PEAK_LOGIT)
        where = F.avg_pool2d(shown, 2).flatten(2)
        read = where.softmax(dim=-1) @ hidden.flatten(2).mT
        presence = (read * self.presence).sum(-1)
        presence = presence + self.presence_peak * where.amax(-1) + self.presence_bias
        large = F.interpolate(shown, scale_factor=2, mode="bilinear", align_corners=False)
        return LabelGuess(presence, large)

    def mixed(
        self, decoded: Float[Tensor, "n h w"], shown: Float[Tensor, "n h w"], rows: Tensor
    ) -> Float[Tensor, "n h w"]:
        """The answers' logits: the decoder's, and the label's share of its own guess.

        Args:
            decoded: the decoder's logits.
            shown: what the decoder was shown.
            rows: which label each is.
        """
        return decoded + self.carried[rows, None, None] * shown
