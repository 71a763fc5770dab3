"""Volumes that Slicer lent the server for a while: what has run out goes from the disk."""

import json
import uuid
from pathlib import Path


def expired_sessions(folder: Path, expiry_s: float, now_s: float) -> tuple[str, ...]:
    """Sessions that have run out, and folders of sessions that are damaged and as old.

    MONAI Label's own looks at nothing until a session was used since the start, and ends at the
    first damaged one. A folder whose name is no session's is left alone.

    Args:
        folder: where sessions lie; it may be missing.
        expiry_s: how long a session is kept that does not say it itself.
        now_s: seconds since 1970.
    """
    if not folder.is_dir():
        return ()
    sessions = [one for one in sorted(folder.iterdir()) if _is_session(one)]
    return tuple(one.name for one in sessions if _ends_s(one, expiry_s) < now_s)


def _is_session(path: Path) -> bool:
    try:
        return str(uuid.UUID(path.name)) == path.name and path.is_dir()
    except ValueError:
        return False


def _ends_s(session: Path, expiry_s: float) -> float:
    """When a session ends, in seconds since 1970; a damaged one counts from its last change."""
    try:
        known = json.loads((session / "meta.info").read_text(encoding="utf-8"))
        return float(known["last_access_ts"]) + (float(known["expiry"]) or expiry_s)
    except (OSError, ValueError, KeyError, TypeError):
        return _changed_s(session) + expiry_s


def _changed_s(session: Path) -> float:
    try:
        return session.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
