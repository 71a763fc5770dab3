"""The order of lib/decisions/0001: imports point down, and every module has its place."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Bottom to top. A name covers its submodules, but for packages listed again with a name below them.
LAYERS = (
    {f"cobot.{name}" for name in "errors shapes atomic checksum published download".split()}
    | {"cobot"},
    {"cobot.geometry", "cobot.adapters.protocol"},
    {"cobot.volume", "cobot.planes"}
    | {f"cobot.adapters.{name}" for name in "config hypercomplex relation slot".split()}
    | {f"cobot.adapters.{name}" for name in "lora adaptformer handle card blocks".split()},
    {f"cobot.{name}" for name in "io slicing prompts intensity datasets adapters".split()}
    | {f"cobot.adapters.{name}" for name in "attach count learning_rates".split()}
    | {f"cobot.adapters.{name}" for name in "checkpoint loading store choice".split()}
    | {f"cobot.adapters.{name}" for name in "importer export".split()},
    {"cobot.sam"}
    | {f"cobot.propagate{name}" for name in ("", "_axes", "_rule", "_slices", "_walk")},
    {f"cobot.{name}" for name in "pipeline training selection auto measures".split()},
    {"cobot.server", "cobot.report", "cobot.batch"},
    {"cobot.cli", "apps", "scripts"},
)
# Their __init__ has a place of its own; a new module in them must be given one.
LISTED_ONE_BY_ONE = {"cobot", "cobot.adapters"}
NUMPY_ONLY = tuple(
    f"cobot.{name}" for name in "geometry volume planes prompts slicing intensity".split()
)
VOLUMES = (*NUMPY_ONLY, "cobot.io", "cobot.datasets")


def module_files() -> dict[str, Path]:
    """Return dotted name -> file for the library, the apps and the scripts."""
    files = {}
    for root, folders in ((ROOT / "lib", ["cobot"]), (ROOT, ["apps", "scripts"])):
        for folder in folders:
            for path in sorted((root / folder).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


FILES = module_files()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def layer(module: str) -> int:
    """Return the layer a module stands in, by its own name or that of the package around it."""
    name = module
    while name:
        for height, names in enumerate(LAYERS):
            if name in names:
                return height
        name = name.rpartition(".")[0]
        if name in LISTED_ONE_BY_ONE:
            break
    raise LookupError(
        f"{module} has no place: add it to LAYERS in tests/test_layers.py and to the picture in "
        "lib/decisions/0001-layout-and-layers.md."
    )


def local_name(importer: str, imported: str) -> str:
    """Return our dotted name of an import: the app's own `lib.x`, a script's neighbour."""
    if importer.startswith("apps.") and imported.split(".")[0] == "lib":
        return ".".join(importer.split(".")[:2]) + "." + imported
    if importer.startswith("scripts.") and f"scripts.{imported}" in FILES:
        return f"scripts.{imported}"
    return imported


def absolute(module: str, node: ast.ImportFrom) -> str:
    """Return the module that a from-import names, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    is_package = FILES[module].name == "__init__.py"
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, node.module] if node.module else base)


def imports(module: str) -> Iterator[str]:
    """Yield every module that `module` imports, wherever in the file."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (local_name(module, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = local_name(module, absolute(module, node))
            for alias in node.names:
                member = f"{source}.{alias.name}"
                yield member if member in FILES else source


def ours(module: str) -> set[str]:
    """Return the imports of `module` that are files of this repository, itself left out."""
    return {name for name in imports(module) if name in FILES} - {module}


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Tell whether `name` is one of `packages` or lies in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_there_is_something_to_check() -> None:
    assert {"cobot.geometry", "cobot.adapters.lora", "scripts.environment"} <= set(FILES)
    assert "cobot.geometry" in ours("cobot.volume")


@pytest.mark.parametrize("module", FILES)
def test_every_module_has_a_place(module: str) -> None:
    layer(module)


def test_a_module_in_an_unknown_place_is_named() -> None:
    for module in ("cobot.helpers", "cobot.adapters.misc", "cobot.helpers.more"):
        with pytest.raises(LookupError, match=f"{module} has no place: add it to LAYERS"):
            layer(module)


@pytest.mark.parametrize("module", FILES)
def test_imports_point_down(module: str) -> None:
    above = {name for name in ours(module) if layer(name) > layer(module)}
    assert not above, f"{module} (layer {layer(module)}) imports from above itself: {above}"


def test_imports_have_no_cycle() -> None:
    try:
        TopologicalSorter({module: ours(module) for module in FILES}).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("cobot")])
def test_the_library_keeps_to_its_side(module: str) -> None:
    imported = set(imports(module))
    forbidden = ("lib", "apps", "scripts", "tests")
    if not within(module, ("cobot.server",)):
        forbidden += ("monailabel",)
    if within(module, ("cobot.adapters",)):
        forbidden += VOLUMES
    if within(module, VOLUMES):
        forbidden += ("cobot.adapters",)
    if within(module, NUMPY_ONLY):
        forbidden += ("torch", "monai", "segment_anything")
    assert not {name for name in imported if within(name, forbidden)}


def test_volumes_and_slices_never_load_torch() -> None:
    code = f"import {', '.join(NUMPY_ONLY)}, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("script", ["environment", "demo", "test", "check"])
def test_first_scripts_need_nothing_installed(script: str) -> None:
    roots = {name.split(".")[0] for name in imports(f"scripts.{script}")}
    assert roots <= {*sys.stdlib_module_names, "scripts"}


def all_files() -> list[Path]:
    """Return every Python file of the repository, tests included."""
    return [*FILES.values(), *sorted((ROOT / "tests").rglob("*.py"))]


def relative(path: Path) -> str:
    """Return the name a failing test is known by."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", all_files(), ids=relative)
def test_file_is_short_and_plain(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            # It breaks dataclasses under MONAI Label's loader, and jaxtyping's checks.
            assert node.module != "__future__", f"line {node.lineno}: no future imports"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            safe = [word for word in node.keywords if word.arg == "weights_only"]
            assert [ast.unparse(word.value) for word in safe] == ["True"], (
                f"line {node.lineno}: torch.load without weights_only=True runs what the file says"
            )


def test_lib_is_a_root_and_the_app_lib_a_package() -> None:
    assert not (ROOT / "lib" / "__init__.py").exists()
    assert not (ROOT / "apps" / "cobot_sam" / "__init__.py").exists()
    assert (ROOT / "apps" / "cobot_sam" / "lib" / "__init__.py").is_file()
