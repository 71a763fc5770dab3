"""Errors a user may see: each says what was wrong, what was expected, and the cure."""


class CobotError(Exception):
    """Anything this package refuses; the message is written for the person who reads it."""


class GeometryError(CobotError, ValueError):
    """An affine, axis or grid that cannot place voxels in the patient."""


class GridMismatchError(CobotError, ValueError):
    """Two things that must share one grid do not."""


class ImageReadError(CobotError, ValueError):
    """A file or folder that cannot be read as one 3D volume."""


class ImageWriteError(CobotError, OSError):
    """A result that could not be written; nothing carries its final name."""


class WindowError(CobotError, ValueError):
    """An intensity window that is unknown, empty or does not fit the volume."""


class PromptError(CobotError, ValueError):
    """A click or box that cannot be used: outside, empty or on the wrong slice."""


class AdapterError(CobotError, ValueError):
    """An adapter that cannot be built, attached, read or merged."""


class WeightsError(CobotError, ValueError):
    """Base weights that are missing, damaged or of another encoder."""


class DownloadError(CobotError, OSError):
    """A download that could not be completed or did not match its checksum."""


class ConfigError(CobotError, ValueError):
    """A setting given by the user that is unknown or out of range."""


class DatasetError(CobotError, ValueError):
    """A public or own data set that is incomplete, damaged, or described wrongly."""
