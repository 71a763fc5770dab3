"""Read a device as a user writes it."""

import torch

from cobot.errors import ConfigError


def choose_device(text: str) -> torch.device:
    """`auto`, or nothing, is the first CUDA device where there is one, else the CPU.

    Raises:
        ConfigError: not a device, or one this machine does not have.
    """
    cuda = torch.cuda.is_available()
    if text in ("", "auto"):
        return torch.device("cuda" if cuda else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"Unknown device {text!r}; expected auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"There is no device {text}: PyTorch sees {torch.cuda.device_count()} GPU(s); choose "
            "auto or cpu."
        )
    return device
