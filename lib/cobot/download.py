"""Fetch published files over a bad connection, and never leave a bad file under a good name."""

import errno
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, TypeVar

from cobot.checksum import file_checksum
from cobot.errors import DownloadError
from cobot.published import PublishedFile, Source

PART_BYTES = 2**20
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes of the whole."""


def fetch(wanted: PublishedFile, folder: Path, source: Source, progress: Progress) -> Path:
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
    if wanted.is_whole(final):
        return final
    part = final.with_name(f"{wanted.file_name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        transfer = _sized(_Transfer(wanted, wanted.size_bytes or 0, part, source, progress))
        _require_room(transfer)
        _complete(transfer)
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(part, final)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(_disk_message(error, wanted, source, folder)) from error
    return final


@dataclass(frozen=True, slots=True)
class _Transfer:
    wanted: PublishedFile
    size_bytes: int
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
    found = file_checksum(transfer.part, transfer.wanted.algorithm)
    if found == transfer.wanted.checksum:
        return
    transfer.part.unlink()
    if begun_earlier:
        _complete(transfer)
        return
    raise DownloadError(
        f"{transfer.address} has the {transfer.wanted.algorithm} checksum {found}, expected "
        f"{transfer.wanted.checksum}: it is not the published file and was thrown away. Use "
        f"another mirror ({transfer.source.advice.mirror})."
    )


def _sized(transfer: _Transfer) -> _Transfer:
    """The transfer with the size the server tells, where none was published.

    Raises:
        DownloadError: it tells less than has arrived.
    """
    if transfer.wanted.size_bytes is not None:
        return transfer

    def told_size() -> int:
        with _open(transfer, "HEAD", 0) as answer:
            length = answer.headers.get("Content-Length", "")
        if not length.isdigit():
            raise _BrokenConnectionError("the mirror does not tell the file's size")
        return int(length)

    told = _insist(transfer, told_size)
    if told < transfer.arrived:
        # Nothing vouches for a told size: a network's sign-in page tells one too.
        raise DownloadError(
            f"{transfer.address} is told to have {told} bytes, expected at least the "
            f"{transfer.arrived} that have arrived: something between here and the mirror answers "
            "for it, such as a network's sign-in page. What has arrived is kept; sign in or use "
            "another network, and run the same command again. If the mirror is right, remove "
            f"{transfer.part} first."
        )
    return replace(transfer, size_bytes=told)


def _receive_all(transfer: _Transfer) -> None:
    if transfer.arrived != transfer.size_bytes:
        _insist(transfer, lambda: _receive(transfer))


def _insist(transfer: _Transfer, step: Callable[[], Result]) -> Result:
    """Take a step again while its connection breaks, with growing pauses without progress."""
    failures = 0
    while True:
        before = transfer.arrived
        try:
            return step()
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
    if offset > transfer.size_bytes:
        transfer.part.unlink()
        offset = 0
    with _open(transfer, "GET", offset) as answer:
        _append(transfer, answer, _first_byte(transfer, answer, offset))


def _open(transfer: _Transfer, method: str, offset: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": "sam-cobot", **({"Range": f"bytes={offset}-"} if offset else {})}
    request = urllib.request.Request(transfer.address, headers=headers, method=method)
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(
            request, timeout=transfer.source.timeout_s
        )
    except urllib.error.HTTPError as error:
        _refuse_status(transfer, error)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise _BrokenConnectionError(str(error)) from error
    return answer


def _refuse_status(transfer: _Transfer, error: urllib.error.HTTPError) -> NoReturn:
    """Tell statuses that may pass from those that will not."""
    error.close()
    if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        transfer.part.unlink(missing_ok=True)
        raise _BrokenConnectionError("the mirror's file is shorter than what has arrived")
    if error.code >= 500 or error.code == http.client.TOO_MANY_REQUESTS:
        raise _BrokenConnectionError(f"the mirror answers {error.code}")
    raise DownloadError(
        f"{transfer.address} answers {error.code} ({error.reason}); expected the published file "
        f"{transfer.wanted.file_name} in the mirror's folder. Check the mirror "
        f"({transfer.source.advice.mirror})."
    ) from error


def _first_byte(transfer: _Transfer, answer: http.client.HTTPResponse, asked: int) -> int:
    """Where the answer begins; a mirror that ignores ranges begins at 0.

    Raises:
        DownloadError: the mirror's file has another size.
    """
    first, total = 0, answer.length
    if answer.status == http.client.PARTIAL_CONTENT:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if span is None or int(span[1]) != asked:
            transfer.part.unlink()
            raise _BrokenConnectionError("the mirror sends another part than was asked for")
        # RFC 9110, 14.4: a server that does not know the whole length says "*".
        first, total = int(span[1]), None if span[2] == "*" else int(span[2])
    if total is not None and total != transfer.size_bytes:
        raise DownloadError(
            f"{transfer.address} has {total} bytes, expected {transfer.size_bytes}: it is not the "
            f"published file. Use another mirror ({transfer.source.advice.mirror})."
        )
    return first


def _append(transfer: _Transfer, answer: http.client.HTTPResponse, first: int) -> None:
    """Write what comes behind the first `first` bytes, never more than the file has."""
    whole = transfer.size_bytes
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


def _require_room(transfer: _Transfer) -> None:
    missing = transfer.size_bytes - transfer.arrived
    if shutil.disk_usage(transfer.part.parent).free < missing:
        raise OSError(errno.ENOSPC, "too little room")


def _disk_message(error: OSError, wanted: PublishedFile, source: Source, folder: Path) -> str:
    other = f"choose another folder ({source.advice.folder})"
    if error.errno == errno.ENOSPC:
        size = "more room" if wanted.size_bytes is None else f"{wanted.size_bytes / 1e6:.0f} MB"
        return (
            f"The disk of {folder} is full: {wanted.file_name} needs {size}. Make room and run the "
            f"same command again, or {other}."
        )
    return f"{folder} cannot be written ({error}); {other}."


def _offline_message(transfer: _Transfer, error: Exception) -> str:
    final = transfer.part.with_name(transfer.wanted.file_name)
    return (
        f"{transfer.address} could not be fetched after {transfer.source.tries} tries ({error}); "
        f"{transfer.arrived} of {transfer.size_bytes or 'unknown many'} bytes are kept, and the "
        "same command goes on from there. Without a connection, copy the file by hand to "
        f"{final}{transfer.source.advice.by_hand}."
    )
