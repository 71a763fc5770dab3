"""Image files in, masks out."""

from cobot.io.images import read_grid as read_grid
from cobot.io.images import read_label_map as read_label_map
from cobot.io.images import read_volume as read_volume
from cobot.io.images import write_label_map as write_label_map
