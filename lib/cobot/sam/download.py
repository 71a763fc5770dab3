"""Fetch published weights over a bad connection, and never leave a bad file under a good name."""

import errno
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cobot.errors import DownloadError
from cobot.sam.official import MIRROR_VARIABLE, Source, WeightsFile
from cobot.sam.weights import file_sha256

PART_BYTES = 2**20
Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes of the whole."""


def fetch(wanted: WeightsFile, folder: Path, source: Source, progress: Progress) -> Path:
    """Bring a published file into a folder, going on where an earlier try stopped.

    Bytes arrive in `NAME.part`; only after its checksum is right does it take its name. A file
    already there with the right checksum is left as it is.

    Args:
        wanted: the file, its size and checksum.
        folder: made if it does not exist.
        source: the mirror.
        progress: told now and then how far it is.

    Returns:
        The file's path.

    Raises:
        DownloadError: nobody answers, the mirror does not have the file or has another one, or
            the disk is full; says what to do. What has arrived is kept for the next try, unless
            it is wrong.
    """
    final = folder / wanted.file_name
    if final.is_file() and file_sha256(final) == wanted.sha256:
        return final
    part = final.with_name(f"{wanted.file_name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _require_room(wanted, part)
        _complete(_Transfer(wanted, part, source, progress))
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(part, final)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(_disk_message(error, wanted, folder)) from error
    return final


@dataclass(frozen=True, slots=True)
class _Transfer:
    wanted: WeightsFile
    part: Path
    source: Source
    progress: Progress

    @property
    def address(self) -> str:
        return self.source.address(self.wanted)

    @property
    def arrived(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0


class _BrokenConnectionError(Exception):
    """Worth another try."""


def _complete(transfer: _Transfer) -> None:
    """Fill the part file and check it; one that was begun earlier and is wrong is begun anew."""
    begun_earlier = transfer.arrived > 0
    _receive_all(transfer)
    found = file_sha256(transfer.part)
    if found == transfer.wanted.sha256:
        return
    transfer.part.unlink()
    if begun_earlier:
        _complete(transfer)
        return
    raise DownloadError(
        f"{transfer.address} has SHA-256 {found}, expected {transfer.wanted.sha256}: it is not the "
        "published file and was thrown away. Use another mirror (--mirror URL)."
    )


def _receive_all(transfer: _Transfer) -> None:
    failures = 0
    while transfer.arrived != transfer.wanted.size_bytes:
        before = transfer.arrived
        try:
            _receive(transfer)
        except _BrokenConnectionError as error:
            failures = failures + 1 if transfer.arrived <= before else 1
            if failures >= transfer.source.tries:
                raise DownloadError(_offline_message(transfer, error)) from error
            time.sleep(transfer.source.pause_s * 2 ** (failures - 1))


def _receive(transfer: _Transfer) -> None:
    """One connection: ask for what is missing and append it until it ends or breaks.

    Raises:
        _BrokenConnectionError: it broke; what came is kept.
        DownloadError: the mirror does not have this file.
    """
    offset = transfer.arrived
    if offset > transfer.wanted.size_bytes:
        transfer.part.unlink()
        offset = 0
    headers = {"User-Agent": "sam-cobot", **({"Range": f"bytes={offset}-"} if offset else {})}
    request = urllib.request.Request(transfer.address, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=transfer.source.timeout_s)
    except urllib.error.HTTPError as error:
        _refuse_status(transfer, error)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise _BrokenConnectionError(str(error)) from error
    else:
        with answer:
            _append(transfer, answer, _first_byte(transfer, answer, offset))


def _refuse_status(transfer: _Transfer, error: urllib.error.HTTPError) -> NoReturn:
    """Tell statuses that may pass from those that will not."""
    error.close()
    if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        transfer.part.unlink()
        raise _BrokenConnectionError("the mirror's file is shorter than what has arrived")
    if error.code >= 500 or error.code == http.client.TOO_MANY_REQUESTS:
        raise _BrokenConnectionError(f"the mirror answers {error.code}")
    raise DownloadError(
        f"{transfer.address} answers {error.code} ({error.reason}); expected the published file "
        f"{transfer.wanted.file_name} in the mirror's folder. Check --mirror and {MIRROR_VARIABLE}."
    ) from error


def _first_byte(transfer: _Transfer, answer: http.client.HTTPResponse, asked: int) -> int:
    """Where the answer begins; a mirror that ignores ranges begins at 0.

    Raises:
        DownloadError: the mirror's file has another size.
    """
    first, total = 0, answer.length
    if answer.status == http.client.PARTIAL_CONTENT:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if span is None or int(span[1]) != asked:
            transfer.part.unlink()
            raise _BrokenConnectionError("the mirror sends another part than was asked for")
        first, total = int(span[1]), int(span[2])
    if total is not None and total != transfer.wanted.size_bytes:
        raise DownloadError(
            f"{transfer.address} has {total} bytes, expected {transfer.wanted.size_bytes}: it is "
            "not the published file. Use another mirror (--mirror URL)."
        )
    return first


def _append(transfer: _Transfer, answer: http.client.HTTPResponse, first: int) -> None:
    """Write what comes behind the first `first` bytes, never more than the file has."""
    whole = transfer.wanted.size_bytes
    with transfer.part.open("r+b" if first else "wb") as stream:
        stream.seek(first)
        here = first
        while here < whole:
            data = _read(answer, min(PART_BYTES, whole - here))
            stream.write(data)
            here += len(data)
            transfer.progress(here, whole)


def _read(answer: http.client.HTTPResponse, count: int) -> bytes:
    try:
        data = answer.read(count)
    except (http.client.HTTPException, OSError) as error:
        raise _BrokenConnectionError(f"the connection broke: {error}") from error
    if not data:
        raise _BrokenConnectionError("the connection ended early")
    return data


def _require_room(wanted: WeightsFile, part: Path) -> None:
    arrived = part.stat().st_size if part.exists() else 0
    missing = wanted.size_bytes - arrived
    if shutil.disk_usage(part.parent).free < missing:
        raise OSError(errno.ENOSPC, "too little room")


def _disk_message(error: OSError, wanted: WeightsFile, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        return (
            f"The disk of {folder} is full: {wanted.file_name} needs "
            f"{wanted.size_bytes / 1e6:.0f} MB. Make room and run the same command again, or "
            "choose another folder (--home DIR or COBOT_HOME)."
        )
    return (
        f"{folder} cannot be written ({error}); choose another folder (--home DIR or COBOT_HOME)."
    )


def _offline_message(transfer: _Transfer, error: Exception) -> str:
    final = transfer.part.with_name(transfer.wanted.file_name)
    return (
        f"{transfer.address} could not be fetched after {transfer.source.tries} tries ({error}); "
        f"{transfer.arrived} of {transfer.wanted.size_bytes} bytes are kept, and the same command "
        f"goes on from there. Without a connection, copy the file by hand to {final}, or name it "
        "with --weights."
    )
