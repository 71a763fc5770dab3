"""Read a device as a user writes it."""

import torch

from cobot.errors import ConfigError


def choose_device(text: str) -> torch.device:
    """`auto` is the first CUDA device where there is one, else the CPU.

    Raises:
        ConfigError: not a device, or one this machine does not have.
    """
    cuda = torch.cuda.is_available()
    if text == "auto":
        return torch.device("cuda" if cuda else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {text!r} is unknown; expected auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"--device {text} is not on this machine ({torch.cuda.device_count()} CUDA devices); "
            "use --device cpu."
        )
    return device
