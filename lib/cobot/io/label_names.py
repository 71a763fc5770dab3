"""The names of labels, in the ways image files can carry them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from cobot.errors import ImageWriteError
from cobot.volume import LARGEST_LABEL

JSON_KEY = "cobot_labels"
"""The key of our JSON in a NIfTI comment extension."""

TABLE_ENTRY = re.compile(
    rb'<Label\s+Key="(\d{1,9})"[^>]{0,300}>\s*<!\[CDATA\[(.{0,300}?)\]\]>\s*</Label>', re.S
)
"""A line of Connectome Workbench's label table; found without an XML parser, and with bounded
lengths, since a file from outside could exhaust both."""


def check_names(labels: Mapping[int, str], path: Path) -> None:
    """Refuse names that would break a text header.

    Raises:
        ImageWriteError: a name is empty or holds a line break or another control character.
    """
    for value, name in labels.items():
        if not name.strip() or not name.isprintable():
            raise ImageWriteError(
                f"{path} was not written: label {value} is called {name!r}; expected a name in "
                "one line of printable characters. Rename the label."
            )


def to_json(labels: Mapping[int, str]) -> bytes:
    """Names as ASCII JSON, for a NIfTI comment extension.

    >>> to_json({1: "liver"})
    b'{"cobot_labels": {"1": "liver"}}'
    """
    names = {str(value): name for value, name in sorted(labels.items())}
    return json.dumps({JSON_KEY: names}).encode("ascii")


def from_json(content: bytes) -> dict[int, str]:
    """Names from a NIfTI comment; empty when the comment is somebody else's.

    >>> from_json(b'{"cobot_labels": {"1": "liver"}}')
    {1: 'liver'}
    >>> from_json(b'{"cobot_labels": {"0": "background", "2": "spleen"}}')
    {2: 'spleen'}
    >>> from_json(b"acquired on a Tuesday")
    {}
    """
    try:
        names = json.loads(content.rstrip(b"\0"))[JSON_KEY]
        labels = {int(value): str(name) for value, name in names.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    # Background has no name, and other values cannot be in a label file.
    return {value: name for value, name in labels.items() if 1 <= value <= LARGEST_LABEL}


def from_label_table(content: bytes) -> dict[int, str]:
    """Names from the NIfTI extension of Connectome Workbench, in which TotalSegmentator has them.

    >>> from_label_table(
    ...     b'<CaretExtension><Label Key="0"><![CDATA[???]]></Label>'
    ...     b'<Label Key="5" Red="0.0"><![CDATA[liver]]></Label>'
    ... )
    {5: 'liver'}
    >>> from_label_table(b"acquired on a Tuesday")
    {}
    """
    if b"<CaretExtension" not in content:
        return {}
    entries = [(int(value), name) for value, name in TABLE_ENTRY.findall(content)]
    names = {value: name.decode("utf-8", "replace").strip() for value, name in entries}
    return {value: name for value, name in names.items() if 1 <= value <= LARGEST_LABEL and name}


def to_segments(labels: Mapping[int, str]) -> dict[str, str]:
    """Names as the Segment fields of 3D Slicer's .seg.nrrd, one layer.

    >>> to_segments({7: "liver"})["Segment0_Name"]
    'liver'
    """
    fields = {}
    for number, (value, name) in enumerate(sorted(labels.items())):
        fields[f"Segment{number}_ID"] = f"Segment_{value}"
        fields[f"Segment{number}_Name"] = name
        fields[f"Segment{number}_LabelValue"] = str(value)
        fields[f"Segment{number}_Layer"] = "0"
    return fields


def from_segments(fields: Mapping[str, str]) -> dict[int, str]:
    """Names from Segment fields; empty when there are none.

    >>> from_segments(to_segments({7: "liver", 9: "spleen"}))
    {7: 'liver', 9: 'spleen'}
    """
    labels = {}
    for key, value in fields.items():
        number, _, field = key.partition("_")
        if field == "LabelValue" and number.startswith("Segment") and value.strip().isdigit():
            labels[int(value)] = fields.get(f"{number}_Name", f"label_{value.strip()}")
    return dict(sorted(labels.items()))
