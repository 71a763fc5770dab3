"""What a user asks of a training: data, base, method, recipe; and what makes two runs the same."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cobot.adapters.config import AdapterConfig
from cobot.training.hardware import Hardware
from cobot.training.recipe import RECIPES, Recipe
from cobot.training.slice_cache import CACHE_BYTES
from cobot.training.task import TrainingTask

VALIDATION_FRACTION = 0.2


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Everything that decides a training.

    Attributes:
        data: folder of labelled volumes; see `find_corrections`.
        task: what is learnt.
        store: folder of adapter versions; runs, split and cache lie in it too.
        adapter: method and switches.
        recipe: how.
        base: tiny, vit_b, vit_l or vit_h.
        weights: another file of that base.
        seed: of everything random.
        side_px: of the encoder's input; None is the base's own.
        split: a file that states the split; None splits by content and remembers.
        validation_fraction: of the cases, held back.
        begin_with: a version to go on with, "active", or None to start afresh from the base.
        hardware: where to train.
        cache_bytes: of decoded slices on disk.
        left_out: cases of the folder that are not used.
        must_hold_out: refuse where no case can be held back, for nobody looks at the result before
            it is used.
    """

    data: Path
    task: TrainingTask
    store: Path
    adapter: AdapterConfig = field(default_factory=lambda: AdapterConfig.named("adaptformer+cobot"))
    recipe: Recipe = RECIPES["default"]
    base: str = "tiny"
    weights: Path | None = None
    seed: int = 0
    side_px: int | None = None
    split: Path | None = None
    validation_fraction: float = VALIDATION_FRACTION
    begin_with: str | None = None
    hardware: Hardware = Hardware()
    cache_bytes: int = CACHE_BYTES
    left_out: frozenset[str] = frozenset()
    must_hold_out: bool = False

    def fingerprint(
        self, base_sha256: str, hashes: Sequence[object], precision: str, world_size: int
    ) -> str:
        """A name for the run: equal for equal settings, weights and data, and only then.

        Args:
            base_sha256: of the base's weights.
            hashes: of the data, and of the adapter to go on with.
            precision: that is computed in; what was asked for may mean another elsewhere.
            world_size: processes; their number changes what is random.
        """
        recipe = {**self.recipe.to_dict(), "save_every": 0}
        decisive = {
            "task": self.task.to_dict(),
            "adapter": self.adapter.to_dict(),
            "recipe": recipe,
            "base": [self.base, base_sha256, self.side_px],
            "seed": self.seed,
            "data": list(hashes),
            "computed": [precision, self.hardware.micro_batch, world_size],
        }
        text = json.dumps(decisive, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
