"""The one source of prompts that a user of `cobot segment` named."""

from dataclasses import dataclass
from pathlib import Path

from cobot.batch.asking import FilePrompts, MaskPrompts, PromptSource
from cobot.batch.automatic import AutoPrompts
from cobot.batch.label_choice import LabelChoice, read_label_choice
from cobot.batch.model import label_prompts_sha256, require_label_prompts
from cobot.batch.partners import partner_files
from cobot.batch.prompt_file import read_prompt_file
from cobot.batch.settings import ModelChoice
from cobot.cli.boxes import box_prompts
from cobot.errors import ConfigError
from cobot.intensity import stated_window


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """What the user wrote.

    Attributes:
        file: --prompts.
        masks: --prompts-from.
        boxes: --box.
        auto: --auto.
        labels: --labels.
        axis: --axis.
    """

    file: Path | None
    masks: Path | None
    boxes: tuple[str, ...]
    auto: bool
    labels: str
    axis: str


def prompt_source(options: PromptOptions, choice: ModelChoice) -> PromptSource:
    """Read it, so that what is wrong is refused before any image is read.

    Raises:
        ConfigError: none or several are named, or labels that they do not know.
        PromptError: the file or a box cannot be read.
        AdapterError: --auto, and the adapter's label prompts are damaged.
    """
    named = [options.file is not None, options.masks is not None, bool(options.boxes), options.auto]
    if sum(named) != 1:
        raise ConfigError(
            f"{sum(named)} sources of prompts were named; expected one of --prompts FILE, "
            "--prompts-from MASKS, --box LABEL=... or --auto."
        )
    wanted = read_label_choice(options.labels)
    if options.masks is not None:
        return MaskPrompts(partner_files(options.masks, "--prompts-from"), wanted)
    if options.auto:
        return _automatic(options, wanted, choice)
    if options.file is not None:
        read, name = read_prompt_file(options.file), f"file {options.file.name}"
    else:
        read, name = box_prompts(options.boxes), "boxes of the command line"
    wanted.require_known(read.values())
    return FilePrompts(read, name, wanted)


def require_window(text: str) -> None:
    """Refuse a window nobody can read before any image is read.

    Raises:
        WindowError: neither auto, nor a preset, nor two numbers.
    """
    if text != "auto":
        stated_window(text)


def _automatic(options: PromptOptions, wanted: LabelChoice, choice: ModelChoice) -> AutoPrompts:
    settings = require_label_prompts(choice)
    if options.axis != "auto":
        raise ConfigError(
            f"--axis {options.axis} does not go with --auto: the labels were learnt on slices of "
            f"one plane ({settings.task.cut}). Leave --axis out."
        )
    wanted.require_known(settings.task.labels)
    return AutoPrompts(settings, label_prompts_sha256(choice), wanted)
