"""Names of structures, compared as people mean them."""


def plain_name(name: str) -> str:
    """A structure's name without what people write differently.

    >>> plain_name("Left_Kidney ")
    'left kidney'
    """
    return " ".join(name.replace("_", " ").lower().split())
