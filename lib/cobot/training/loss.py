"""The training loss of masks: MONAI's Dice and cross-entropy, for each mask of many."""

from jaxtyping import Float
from monai.losses.dice import DiceLoss
from torch import Tensor
from torch.nn import functional as F

_DICE = DiceLoss(sigmoid=True, squared_pred=True, reduction="none")


def dice_ce(
    logits: Float[Tensor, "n m h w"], target: Float[Tensor, "n #m h w"]
) -> Float[Tensor, "n m"]:
    """Dice loss with squared denominators plus binary cross-entropy, equal weights.

    As SAM-COBOT's medical experiments (BCE + Dice). The mean over masks is MONAI's
    `DiceCELoss(sigmoid=True, squared_pred=True)`, which has no value for each mask alone. An empty
    target is learnt too: the empty answer has loss 0.

    Args:
        logits: masks; above 0 is object.
        target: share of each place that is object, 0 to 1.
    """
    n, m, h, w = logits.shape
    shown = logits.reshape(n * m, 1, h, w)
    wanted = target.expand_as(logits).reshape(n * m, 1, h, w)
    entropy = F.binary_cross_entropy_with_logits(shown, wanted, reduction="none").mean((1, 2, 3))
    return (_DICE(shown, wanted).mean((1, 2, 3)) + entropy).reshape(n, m)
