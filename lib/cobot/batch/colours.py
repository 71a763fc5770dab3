"""Colours of labels, the same in every case, and the two tables that viewers read them from."""

import colorsys
from collections.abc import Mapping

GOLDEN_ANGLE = 0.618033988749895
"""Steps of this part of the colour circle stay far apart however many there are."""


def label_colour(value: int) -> tuple[int, int, int]:
    """Red, green and blue of a label, 0 to 255.

    >>> label_colour(1)
    (62, 111, 230)
    """
    hue = value * GOLDEN_ANGLE % 1
    bright = (0.9, 0.75)[value // 5 % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.73, bright)
    return round(red * 255), round(green * 255), round(blue * 255)


def slicer_table(labels: Mapping[int, str]) -> str:
    """A colour table for 3D Slicer (.ctbl): load it as the colour node of the mask.

    >>> print(slicer_table({1: "left kidney"}))
    # Color table: value name red green blue alpha
    0 background 0 0 0 0
    1 left_kidney 62 111 230 255
    <BLANKLINE>
    """
    lines = ["# Color table: value name red green blue alpha", "0 background 0 0 0 0"]
    for value, name in sorted(labels.items()):
        # The format separates fields by blanks; Slicer shows an underscore as one.
        plain = "_".join(name.split())
        lines.append("{} {} {} {} {} 255".format(value, plain, *label_colour(value)))
    return "\n".join(lines) + "\n"


def itksnap_table(labels: Mapping[int, str]) -> str:
    """A label description file for ITK-SNAP: Segmentation > Import label descriptions.

    >>> print(itksnap_table({1: "liver"}).splitlines()[-1])
        1    62  111  230        1  1  1    "liver"
    """
    lines = [
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for value, name in sorted(labels.items()):
        red, green, blue = label_colour(value)
        quoted = name.replace('"', "'")
        lines.append(f'{value:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{quoted}"')
    return "\n".join(lines) + "\n"
