"""What somebody published, and where to fetch it."""

from dataclasses import dataclass, field
from pathlib import Path

from cobot.checksum import Algorithm, file_checksum
from cobot.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file somebody published.

    Attributes:
        file_name: as published; also its name on disk.
        size_bytes: its length; None if it was never written down: then the server is asked.
        checksum: in hex.
        algorithm: of the checksum.
    """

    file_name: str
    size_bytes: int | None
    checksum: str
    algorithm: Algorithm = "sha256"

    def is_whole(self, path: Path) -> bool:
        """Whether a file on disk has the published checksum."""
        return path.is_file() and file_checksum(path, self.algorithm) == self.checksum


@dataclass(frozen=True, slots=True)
class Advice:
    """What a refusal tells this download's user to do.

    Attributes:
        mirror: how to choose another server.
        folder: how to choose another folder.
        by_hand: what to do with a file that was copied by hand, after its place.
    """

    mirror: str = "--mirror URL"
    folder: str = "--home DIR or COBOT_HOME"
    by_hand: str = ", or name it with --weights"


@dataclass(frozen=True, slots=True)
class Source:
    """Where to fetch from and how stubbornly.

    Attributes:
        mirror: address of the folder that holds the published files, http or https.
        tries: how often in a row the connection may fail without a byte of progress.
        pause_s: wait before the second try; doubled before each further one.
        timeout_s: silence after which a connection counts as broken.
        advice: the ways out that refusals name.
    """

    mirror: str
    tries: int = 5
    pause_s: float = 1.0
    timeout_s: float = 30.0
    advice: Advice = field(default_factory=Advice)

    def __post_init__(self) -> None:
        if not self.mirror.startswith(("http://", "https://")):
            raise ConfigError(
                f"The mirror must be an http:// or https:// address, got {self.mirror!r}."
            )

    def address(self, wanted: PublishedFile) -> str:
        """Where one file is."""
        return f"{self.mirror.rstrip('/')}/{wanted.file_name}"
