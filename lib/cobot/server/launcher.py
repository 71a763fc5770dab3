"""Start MONAI Label's server on studies of this machine: checked, quiet and closed by default."""

import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

import cobot
from cobot.adapters.checkpoint import check_base
from cobot.adapters.choice import ACTIVE
from cobot.datasets.pairs import IMAGE_SUFFIXES
from cobot.errors import AdapterError, ConfigError
from cobot.intensity import window_rule
from cobot.sam.weights import default_weights_path, file_sha256
from cobot.server.engine import sam_loader
from cobot.server.following import FollowedStore, default_store
from cobot.server.worker import SERVER_PID
from cobot.volume import Volume

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SESSION_EXPIRY_S = 12 * 3600
SHUTDOWN_S = 3


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What to serve and where.

    Attributes:
        studies: folder of images; labels go into its subfolder `labels`.
        app: folder of the MONAI Label app.
        host: address to listen on; 127.0.0.1 is this machine alone.
        port: port to listen on; 0 picks a free one.
        conf: the app's `--conf` pairs.
    """

    studies: Path
    app: Path
    host: str = "127.0.0.1"
    port: int = 8000
    conf: Mapping[str, str] = field(default_factory=dict)


def default_app() -> Path:
    """The app folder beside the library, as in a checkout installed with `pip install -e`.

    Raises:
        ConfigError: the library was installed without its repository.
    """
    app = Path(cobot.__file__).resolve().parents[2] / "apps" / "cobot_sam"
    if not (app / "main.py").is_file():
        raise ConfigError(
            f"The app folder was not found at {app}; name it with --app, for example "
            "--app sam-cobot/apps/cobot_sam in a checkout of the repository."
        )
    return app


def check(options: ServeOptions) -> None:
    """Refuse what would only fail later, in the log of a running server.

    Raises:
        ConfigError: the app or the studies are not what they should be.
    """
    if not (options.app / "main.py").is_file():
        raise ConfigError(
            f"--app {options.app} has no main.py; name the folder apps/cobot_sam of the repository."
        )
    if not options.studies.is_dir():
        raise ConfigError(
            f"--studies {options.studies} is not a folder; name the folder that holds the images "
            f"({', '.join(IMAGE_SUFFIXES)})."
        )
    names = sorted(item.name for item in options.studies.iterdir())
    if not any(name.lower().endswith(IMAGE_SUFFIXES) for name in names):
        raise ConfigError(
            f"--studies {options.studies} holds no image ({', '.join(IMAGE_SUFFIXES)}) directly in "
            f"it; found {_listing(names)}. Name the folder of the image files themselves; convert "
            "DICOM series to NIfTI first, for example with dcm2niix."
        )


def check_choices(conf: Mapping[str, str]) -> None:
    """Refuse a model, device or window that would fail at the first click.

    Raises:
        ConfigError: no such encoder or device.
        WeightsError: the encoder's weights are not where they should be.
        WindowError: neither a preset nor two numbers.
    """
    weights = conf.get("weights")
    sam_loader(
        conf.get("model", "tiny"), Path(weights) if weights else None, conf.get("device", "")
    )
    anywhere = Volume(np.zeros((1, 1, 1)), np.eye(4))
    window_rule(conf.get("window", "auto"), anywhere)


def check_adapter(conf: Mapping[str, str], studies: Path) -> str:
    """Look at the adapter that the first click will be answered with.

    Returns:
        A warning about an active version that cannot be used, or nothing.

    Raises:
        AdapterError: a version that the user named cannot be used.
    """
    model = conf.get("model", "tiny")
    store = Path(conf.get("store") or default_store(studies, model))
    source = FollowedStore(store, conf.get("adapter", ACTIVE))
    try:
        version = source.wanted()
        if version is not None:
            weights = Path(conf["weights"]) if conf.get("weights") else default_weights_path(model)
            check_base(source.read(version).card, model, file_sha256(weights))
    except AdapterError as error:
        if source.required:
            raise
        return (
            f"Warning: the active adapter of {store} cannot be used, so the base will answer "
            f"without one. {error} To choose another: cobot adapters activate."
        )
    return ""


def _listing(names: list[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def open_port(host: str, port: int) -> socket.socket:
    """Take the port before anything slow happens.

    Raises:
        ConfigError: it is taken, needs more rights, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":
        # A port left by a server that has just stopped may be taken again at once. On Windows
        # the same option would share a port that is in use.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Port {port} of {host} cannot be used ({error.strerror or error}); stop what runs "
            "there, or choose another with --port 8001 (0 picks a free one)."
        ) from None
    return listener


def environment(options: ServeOptions, port: int) -> dict[str, str]:
    """MONAI Label's settings: no scoring, no tracking, long sessions, this app and studies.

    A training's own process inherits them: it finds the app's package by PYTHONPATH, and by this
    process's id it knows when nobody waits for it any more.
    """
    paths = [os.environ.get("PYTHONPATH", ""), str(options.app.resolve())]
    return {
        "MONAI_LABEL_APP_DIR": str(options.app.resolve()),
        "MONAI_LABEL_STUDIES": str(options.studies.resolve()),
        "MONAI_LABEL_APP_CONF": json.dumps(dict(options.conf)),
        "MONAI_LABEL_SERVER_PORT": str(port),
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_LABEL_TASKS_SCORING": "false",
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        "MONAI_LABEL_SESSION_EXPIRY": str(SESSION_EXPIRY_S),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        SERVER_PID: str(os.getpid()),
    }


def serve(options: ServeOptions, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        options: what to serve and where.
        announce: told what a person should read: the address, warnings, the end.

    Raises:
        CobotError: see `check`, `check_choices`, `check_adapter` and `open_port`.
    """
    check(options)
    check_choices(options.conf)
    if warning := check_adapter(options.conf, options.studies):
        announce(warning)
    with open_port(options.host, options.port) as listener:
        port = listener.getsockname()[1]
        os.environ.update(environment(options, port))
        # uvicorn closes everything, then repeats the signal that stopped it, if it is not ignored.
        with suppress(KeyboardInterrupt):
            _run(options, listener, announce)
        announce("Stopped.")


def _run(options: ServeOptions, listener: socket.socket, announce: Callable[[str], None]) -> None:
    announce("Starting; this takes up to half a minute ...")
    # Imported here because MONAI Label reads its settings while it is imported.
    from monailabel.utils.others.generic import init_log_config
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from cobot.server.app import app

    local = options.host in LOOPBACK
    if not local:
        announce(
            f"Warning: {options.host} is open to the network and this server asks for no password."
        )
    config = uvicorn.Config(
        TrustedHostMiddleware(app, [*LOOPBACK]) if local else app,
        log_config=_log_config(Path(init_log_config(None, str(options.app), "app.log", "INFO"))),
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    logging.getLogger("timeloop").disabled = True  # It prints to the terminal by itself.
    host = "127.0.0.1" if local or options.host in ("0.0.0.0", "::") else options.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    server = AnnouncingServer(config, lambda: announce(_welcome(address)))
    server.run(sockets=[listener])
    if not server.started:
        raise ConfigError(f"The server could not start; {options.app}/logs/app.log says why.")


def _log_config(file: Path) -> dict[str, Any]:
    """MONAI Label's logging, all of it in the log file, warnings alone in the terminal."""
    config: dict[str, Any] = json.loads(file.read_text())
    file.unlink()
    config["handlers"]["console"]["level"] = "WARNING"
    return config


def _welcome(address: str) -> str:
    return (
        f"Ready. In 3D Slicer, module MONAILabel, paste this as the server: {address}\n"
        "Press Ctrl-C here to stop."
    )


class AnnouncingServer(uvicorn.Server):
    """Final. A server that says when it is ready to answer."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()
