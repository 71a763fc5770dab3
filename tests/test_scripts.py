"""Making the environment. Empty environments are real; uv, pip and the packages are faked.

`scripts/test.py` in a fresh clone is the whole proof, and needs the network.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def load(name: str) -> ModuleType:
    """Load one script as a module of that name."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FakeSteps:
    """Stands in for `environment.step`: makes real environments without pip, fakes installs."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.failing: set[str] = set()
        self.cut_before: int | None = None

    def __call__(self, title: str, command: list[str]) -> bool:
        if self.cut_before == len(self.titles):
            raise KeyboardInterrupt
        self.titles.append(title)
        if title in self.failing:
            return False
        if command[1:3] == ["-m", "venv"]:
            subprocess.run([*command, "--without-pip"], check=True)
        elif title.startswith("install"):
            root = Path(command[-1].split("[")[0])
            packages = next((root / ".venv").glob("[lL]ib*/**/site-packages"))
            (packages / "torch").mkdir(exist_ok=True)
            (packages / "torch-1.dist-info").mkdir(exist_ok=True)
        return True


EMPTY = "make an empty environment"
GET_UV = "put uv into it"
WITH_UV = "install the packages with uv"
WITH_PIP = "install the packages with pip"
ALL_STEPS = [EMPTY, GET_UV, WITH_UV]


@pytest.fixture
def environment() -> ModuleType:
    return load("environment")


@pytest.fixture
def steps(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeSteps:
    fake = FakeSteps()
    monkeypatch.setattr(environment, "step", fake)
    return fake


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("torch==1\n")
    return tmp_path


def torch_folder(project: Path) -> Path:
    return next((project / ".venv").glob("**/site-packages")) / "torch"


def test_it_is_made_once_and_then_only_looked_at(environment, steps, project) -> None:
    python = environment.ensure(project)
    assert subprocess.run([python, "-c", ""], check=False).returncode == 0
    assert python.is_relative_to(project / ".venv")
    assert steps.titles == ALL_STEPS
    assert environment.ensure(project) == python
    assert steps.titles == ALL_STEPS


@pytest.mark.parametrize("cut_before", range(3))
def test_a_run_cut_off_anywhere_is_made_again(environment, steps, project, cut_before) -> None:
    steps.cut_before = cut_before
    with pytest.raises(KeyboardInterrupt):
        environment.ensure(project)
    assert environment.read_stamp(project / ".venv") == {"state": "making"}
    steps.titles, steps.cut_before = [], None
    environment.ensure(project)
    assert steps.titles == ALL_STEPS
    assert torch_folder(project).is_dir()


def test_a_cut_during_an_update_is_made_again(environment, steps, project) -> None:
    environment.ensure(project)
    (project / "constraints.txt").write_text("torch==2\n")
    steps.titles, steps.cut_before = [], 1
    with pytest.raises(KeyboardInterrupt):
        environment.ensure(project)
    steps.titles, steps.cut_before = [], None
    environment.ensure(project)
    assert steps.titles == ALL_STEPS


def remove_package(project: Path) -> None:
    torch_folder(project).rmdir()


def remove_python(project: Path) -> None:
    next((project / ".venv").glob("[bS]*/python*")).parent.rename(project / ".venv" / "gone")


def truncate_stamp(project: Path) -> None:
    (project / ".venv" / "sam-cobot.json").write_text('{"state": "made", "rec')


def of_another_python(project: Path) -> None:
    file = project / ".venv" / "sam-cobot.json"
    stamp = json.loads(file.read_text())
    stamp["recipe"]["python"] = "3.1"
    file.write_text(json.dumps(stamp))


@pytest.mark.parametrize(
    "damage", [remove_package, remove_python, truncate_stamp, of_another_python]
)
def test_a_damaged_one_is_made_again(
    environment, steps, project, damage: Callable[[Path], None]
) -> None:
    environment.ensure(project)
    damage(project)
    steps.titles = []
    python = environment.ensure(project)
    assert steps.titles == ALL_STEPS
    assert torch_folder(project).is_dir()
    assert environment.answers(python, "pass")
    assert not (project / ".venv.discarded").exists()


def test_a_moved_one_is_made_again(environment, steps, project, tmp_path_factory) -> None:
    environment.ensure(project)
    elsewhere = tmp_path_factory.mktemp("moved") / "project"
    project.rename(elsewhere)
    steps.titles = []
    environment.ensure(elsewhere)
    assert steps.titles == ALL_STEPS


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_of_packages_updates_in_place(environment, steps, project, name) -> None:
    environment.ensure(project)
    kept = project / ".venv" / "kept"
    kept.touch()
    (project / name).write_text("# other\n")
    steps.titles = []
    environment.ensure(project)
    assert steps.titles == [GET_UV, WITH_UV]
    assert kept.exists()


def test_an_upgraded_package_is_not_damage(environment, steps, project) -> None:
    environment.ensure(project)
    packages = torch_folder(project).parent
    (packages / "torch-1.dist-info").rename(packages / "torch-2.dist-info")
    environment.ensure(project)
    assert steps.titles == ALL_STEPS


def test_what_the_user_made_is_kept(environment, steps, project, capsys) -> None:
    (project / ".venv").mkdir()
    (project / ".venv" / "mine.txt").write_text("precious")
    environment.ensure(project)
    (kept,) = project.glob(".venv.yours-*")
    assert (kept / "mine.txt").read_text() == "precious"
    assert f"kept as {kept.name}" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["half-made", "mine", "gone"])
def test_a_link_is_replaced_and_what_it_leads_to_is_kept(
    environment, steps, project, tmp_path_factory, target
) -> None:
    elsewhere = tmp_path_factory.mktemp("scratch") / "venv"
    content = elsewhere / ("sam-cobot.json" if target == "half-made" else "mine.txt")
    if target != "gone":
        elsewhere.mkdir()
        content.write_text('{"state": "making"}')
    # Left by a release that renamed a link and could not remove it.
    (project / ".venv.discarded").symlink_to(elsewhere)
    (project / ".venv").symlink_to(elsewhere)
    environment.ensure(project)
    assert torch_folder(project).is_dir()
    assert not (project / ".venv").is_symlink()
    assert not (project / ".venv.discarded").is_symlink()
    assert [path.name for path in elsewhere.glob("*")] == [content.name] * (target != "gone")


@pytest.mark.parametrize("broken", [GET_UV, WITH_UV])
def test_pip_steps_in_for_uv(environment, steps, project, broken) -> None:
    steps.failing = {broken}
    environment.ensure(project)
    assert steps.titles[-1] == WITH_PIP
    assert torch_folder(project).is_dir()


def test_without_network_the_cure_is_told(environment, steps, project) -> None:
    steps.failing = {GET_UV, WITH_PIP}
    with pytest.raises(environment.SetupError, match="could not be installed") as caught:
        environment.ensure(project)
    for word in ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_FIND_LINKS", "PIP_FIND_LINKS"):
        assert word in str(caught.value)
    assert environment.read_stamp(project / ".venv") == {"state": "making"}


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 13, 0)])
def test_an_unsupported_python_is_refused(environment, monkeypatch, version) -> None:
    monkeypatch.setattr(environment.sys, "version_info", version)
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    found = ".".join(map(str, version))
    with pytest.raises(environment.SetupError, match=rf"Python {found} .* expected 3.10 to 3.12"):
        environment.find_python()


def test_an_unsupported_python_finds_a_supported_one(environment, monkeypatch) -> None:
    """A command that is there and does not run, as pyenv leaves them, is passed over."""
    there = {"python3.12": "/nowhere/python3.12", "python3.11": sys.executable}
    monkeypatch.setattr(environment.sys, "version_info", (3, 13, 0))
    monkeypatch.setattr(environment.shutil, "which", there.get)
    assert environment.find_python() == (sys.executable, "3.11")


def test_a_python_without_venv_is_refused_before_anything_is_made(
    environment, steps, project, monkeypatch
) -> None:
    monkeypatch.setattr(environment, "answers", lambda python, code: False)
    with pytest.raises(environment.SetupError, match="apt install python3-venv"):
        environment.ensure(project)
    assert not (project / ".venv").exists()


def test_low_disk_is_told(environment, monkeypatch, tmp_path, capsys) -> None:
    usage = type(environment.shutil.disk_usage(tmp_path))
    for free, told in ((11.9e9, True), (12.1e9, False)):
        monkeypatch.setattr(environment.shutil, "disk_usage", lambda path, f=free: usage(0, 0, f))
        environment.warn_of_low_disk(tmp_path)
        assert ("11.9 GB are free" in capsys.readouterr().out) is told


def test_pips_mirror_serves_uv_unless_uv_has_its_own(environment, monkeypatch, tmp_path) -> None:
    out = tmp_path / "index"
    code = f"import os; open({str(out)!r}, 'w').write(os.environ.get('UV_DEFAULT_INDEX', 'none'))"
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.delenv("UV_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "mirror-of-pip")
    assert environment.step("look", [sys.executable, "-c", code])
    assert out.read_text() == "mirror-of-pip"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "own")
    assert environment.step("look", [sys.executable, "-c", code])
    assert out.read_text() == "own"


def test_a_failed_step_is_told_with_its_exit_code(environment, capfd) -> None:
    assert not environment.step("fall", [sys.executable, "-c", "raise SystemExit(3)"])
    assert "failed with exit code 3" in capfd.readouterr().out


def test_two_runs_take_turns(environment, tmp_path) -> None:
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(SCRIPTS)!r}); import environment\n"
        f"with environment.locked(pathlib.Path({str(tmp_path)!r})): print('second', flush=True)"
    )
    with environment.locked(tmp_path):
        second = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        assert second.stdout.readline() == "Another run is making .venv: waiting for it.\n"
    assert second.communicate(timeout=60)[0] == "second\n"
    assert second.returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows drops the lock with its first holder")
def test_a_killed_run_keeps_the_lock_while_its_installer_lives(environment, tmp_path) -> None:
    installer = "import time; print('on', flush=True); time.sleep(60)"
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(SCRIPTS)!r}); import environment\n"
        f"with environment.locked(pathlib.Path({str(tmp_path)!r})):\n"
        "    child = environment.subprocess.Popen([sys.executable, '-c', sys.argv[1]], "
        "close_fds=False)\n"
        "    print(child.pid, flush=True); child.wait()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, installer], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    said = {run.stdout.readline().strip() for _ in range(2)}
    child = int(next(word for word in said if word != "on"))
    run.kill()
    run.wait()
    with (tmp_path / ".venv.lock").open("a") as file:
        assert not environment.try_lock(file)
        os.kill(child, 9)
        run.stdout.read()  # ends when the child is gone and its end of the pipe is closed
        assert environment.try_lock(file)
    run.stdout.close()


def test_a_setup_error_ends_without_a_traceback(environment, capsys) -> None:
    def fail(arguments: list[str]) -> int:
        raise environment.SetupError("no room.")

    assert environment.guarded(fail) == 2
    assert capsys.readouterr().err == "\nerror: no room.\n"


@pytest.fixture
def calls(environment, monkeypatch) -> list[list[str]]:
    """Give the scripts an environment that only notes what would be run, and exits with 5."""
    seen: list[list[str]] = []

    def run(python: str, arguments: list[str], folder: Path | None = None) -> int:
        seen.append(arguments)
        return 5

    monkeypatch.setitem(sys.modules, "environment", environment)
    monkeypatch.setattr(environment, "ensure", lambda: "python")
    monkeypatch.setattr(environment, "run", run)
    return seen


def test_demo_and_test_pass_arguments_and_exit_codes_through(calls) -> None:
    assert load("demo").main(["--image", "a.nii"]) == 5
    assert load("test").main(["-k", "lora"]) == 5
    assert calls == [
        ["-m", "cobot.cli.main", "demo", "--image", "a.nii"],
        ["-m", "pytest", "-k", "lora"],
    ]


def test_check_runs_all_and_fails_when_one_does(calls, environment, monkeypatch, capsys) -> None:
    check = load("check")
    assert check.main([]) == 1
    assert [call[1] for call in calls] == ["ruff", "ruff", "mypy", "pytest"]
    assert capsys.readouterr().out.count("FAILED") == 4
    calls.clear()
    monkeypatch.setattr(environment, "run", lambda *_: int(bool(calls.append(list(_[1])))))
    assert check.main(["--no-tests"]) == 0
    assert [call[1] for call in calls] == ["ruff", "ruff", "mypy"]


def test_check_refuses_other_arguments(calls, environment) -> None:
    with pytest.raises(environment.SetupError, match=r"--no-tests or nothing, got \['--fast'\]"):
        load("check").main(["--fast"])
