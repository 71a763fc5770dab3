"""Which blocks of an encoder learn, as users say it."""

from dataclasses import replace

from cobot.adapters.config import AdapterConfig
from cobot.errors import ConfigError

BLOCK_CHOICES = ("all", "last-half", "last-quarter")


def choose_blocks(text: str, depth: int) -> tuple[int, ...] | None:
    """The adapted blocks of an encoder, as `AdapterConfig.blocks` wants them; None is all.

    >>> choose_blocks("last-quarter", 12)
    (9, 10, 11)

    Args:
        text: one of `BLOCK_CHOICES`; what cannot be divided evenly is rounded up.
        depth: the encoder's number of blocks.

    Raises:
        ConfigError: it is none of them.
    """
    parts = {"last-half": 2, "last-quarter": 4}
    if text == "all":
        return None
    if text not in parts:
        raise ConfigError(
            f"Unknown choice of blocks {text!r}; expected one of {', '.join(BLOCK_CHOICES)}."
        )
    return tuple(range(depth - -(-depth // parts[text]), depth))


def in_blocks(config: AdapterConfig, text: str, depth: int) -> AdapterConfig:
    """The same adapter in some blocks alone; slots, and with them S and Λ, follow the blocks.

    Raises:
        ConfigError: the choice is unknown, the method attaches nothing to blocks, or the
            configuration names other blocks already.
    """
    blocks = choose_blocks(text, depth)
    if blocks is None:
        return config
    if config.blocks is not None:
        raise ConfigError(
            f"The blocks are named twice: {text!r}, and {list(config.blocks)} as a setting of the "
            "adapter; leave one out."
        )
    return replace(config, blocks=blocks)
