"""What `cobot serve` refuses before anything slow happens, and what it tells MONAI Label."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cobot.errors import ConfigError, WeightsError, WindowError
from cobot.server.launcher import (
    ServeOptions,
    check,
    check_choices,
    default_app,
    environment,
    open_port,
    serve,
)


@pytest.fixture
def options(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").touch()
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "a.nii.gz").touch()
    (tmp_path / "weights.safetensors").touch()
    conf = {"model": "tiny", "weights": str(tmp_path / "weights.safetensors")}
    return ServeOptions(tmp_path / "studies", tmp_path / "app", port=0, conf=conf)


def test_a_sound_start_is_let_through(options):
    check(options)


def test_the_app_of_the_checkout_is_the_default():
    assert (default_app() / "main.py").is_file()


def test_a_folder_without_an_app_is_refused(options):
    (options.app / "main.py").unlink()
    with pytest.raises(ConfigError, match=r"has no main.py; name the folder apps/cobot_sam"):
        check(options)


def test_missing_studies_are_refused(options):
    (options.studies / "a.nii.gz").unlink()
    options.studies.rmdir()
    with pytest.raises(ConfigError, match="is not a folder; name the folder that holds"):
        check(options)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "found nothing"),
        (["a.dcm", "b.dcm"], "found a.dcm, b.dcm"),
        ([f"{n}.dcm" for n in range(7)], "found 0.dcm, 1.dcm, 2.dcm, 3.dcm, 4.dcm and 2 more"),
    ],
)
def test_studies_without_images_are_refused_and_what_was_found_is_said(options, names, found):
    (options.studies / "a.nii.gz").unlink()
    for name in names:
        (options.studies / name).touch()
    with pytest.raises(ConfigError, match=f"holds no image.*{found}.*dcm2niix"):
        check(options)


def test_a_port_in_use_is_refused_before_the_server_is_loaded(options):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        taken = replace(options, port=port)
        said = []
        with pytest.raises(ConfigError, match=f"Port {port} of 127.0.0.1.*--port 8001"):
            serve(taken, said.append)
        assert said == []


def test_a_free_port_is_taken_and_given_back():
    with open_port("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match="cannot be used"):
            open_port("127.0.0.1", port)
    open_port("127.0.0.1", port).close()


def test_scoring_and_tracking_are_off_and_sessions_long(options):
    settings = environment(options, 8123)
    assert json.loads(settings["MONAI_LABEL_APP_CONF"]) == dict(options.conf)
    assert settings["MONAI_LABEL_STUDIES"] == str(options.studies.resolve())
    assert settings["MONAI_LABEL_SERVER_PORT"] == "8123"
    assert settings["MONAI_LABEL_TASKS_SCORING"] == "false"
    assert settings["MONAI_LABEL_AUTO_UPDATE_SCORING"] == "false"
    assert settings["MONAI_LABEL_TRACKING_ENABLED"] == "false"
    assert settings["MONAI_LABEL_SESSION_EXPIRY"] == "43200"


def test_a_trainings_process_finds_the_app_and_knows_the_server(options, monkeypatch):
    app = str(options.app.resolve())
    monkeypatch.delenv("PYTHONPATH", raising=False)
    settings = environment(options, 8123)
    assert settings["PYTHONPATH"] == app
    assert settings["COBOT_SERVER_PID"] == str(os.getpid())
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert environment(options, 8123)["PYTHONPATH"] == os.pathsep.join(["elsewhere", app])


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        ({"model": "vit_x"}, ConfigError, "vit_x"),
        ({"device": "gpu9"}, ConfigError, "Unknown device 'gpu9'; expected auto"),
        ({"device": "cuda:99"}, ConfigError, "no device cuda:99.*auto or cpu"),
        ({"window": "bright"}, WindowError, "Unknown window 'bright'"),
        ({"weights": "nowhere.pth"}, WeightsError, "weights of tiny are not at nowhere.pth"),
    ],
)
def test_what_would_fail_at_the_first_click_is_refused_at_once(options, choice, error, message):
    check_choices({**options.conf, "device": "cpu", "window": "-160,240"})
    with pytest.raises(error, match=message):
        check_choices({**options.conf, **choice})


def test_monai_labels_own_command_is_installed_and_knows_our_app(tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    command = Path(sys.executable).with_name("monailabel")
    done = subprocess.run(
        [command, "start_server", "--dryrun", "--app", default_app(), "--studies", studies],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,  # it writes a .env where it stands
    )
    assert done.returncode == 0, done.stderr
