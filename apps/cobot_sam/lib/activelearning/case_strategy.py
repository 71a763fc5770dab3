"""A strategy as MONAI Label lists and calls it; what it chooses is `cobot.selection`'s."""

from collections.abc import Mapping
from typing import Any

from cobot.selection.choose import UNSCORED, StrategyName
from cobot.server.case_choice import LEASE_MINUTES, CaseChooser
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

DESCRIPTIONS: Mapping[StrategyName, str] = {
    "hybrid": "A study the model is unsure of, and unlike those labelled",
    "uncertainty": "The study the model is least sure of",
    "diversity": "The study least like those labelled",
    "random": "A study drawn by chance",
    "first": "The first study by name",
}


class CaseStrategy(Strategy):
    """Final. One strategy under its name."""

    def __init__(self, name: StrategyName, chooser: CaseChooser) -> None:
        super().__init__(DESCRIPTIONS[name])
        self._name, self._chooser = name, chooser

    def info(self) -> dict[str, Any]:
        """Description, and the rows of Slicer's table of options."""
        config: dict[str, Any] = {"lease_minutes": LEASE_MINUTES, "another": False}
        if self._name in ("hybrid", "uncertainty"):
            config |= {"signal": ["disagreement", "predicted_iou"], "label": ""}
        return {**super().info(), "scored": self._name not in UNSCORED, "config": config}

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The next study for the annotator who asks."""
        return self._chooser.next_case(self._name, request, datastore)
