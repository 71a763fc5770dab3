"""Where this user's downloads live."""

import os
import sys
from pathlib import Path


def cobot_home() -> Path:
    """The folder of downloaded weights; it may not exist yet.

    COBOT_HOME if that is set; otherwise `cobot` in the system's cache folder: XDG_CACHE_HOME or
    ~/.cache on Linux, ~/Library/Caches on macOS, LOCALAPPDATA on Windows.
    """
    chosen = os.environ.get("COBOT_HOME")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "cobot"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "cobot"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cobot"
