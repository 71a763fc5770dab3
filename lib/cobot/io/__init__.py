"""Image files in, masks out."""

from cobot.io.dicom_scan import scan_series as scan_series
from cobot.io.dicom_series import read_dicom_files as read_dicom_files
from cobot.io.images import read_grid as read_grid
from cobot.io.images import read_label_map as read_label_map
from cobot.io.images import read_volume as read_volume
from cobot.io.images import write_label_map as write_label_map
