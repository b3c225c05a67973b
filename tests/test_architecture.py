"""What holds the structure up: imports point one way, light stays light, the wheel is complete."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "spectrum_ft": ROOT / "spectrum_ft",
    "spectrum_ft_reports": ROOT / "reports" / "spectrum_ft_reports",
    "spectrum_ft_cli": ROOT / "cli" / "spectrum_ft_cli",
}
LAYERS = list(PACKAGES)  # lowest first: a layer may import itself and the ones before it

TRAINING_LIBRARIES = {"transformers", "peft", "trl", "bitsandbytes", "accelerate"}

# Which parts of the library each part may import, beside itself.
BOTTOM = {"errors", "strict_json", "strict_yaml", "globs", "records", "cache_folder"}
INSIDE = {
    "errors": set[str](),
    "records": {"errors"},
    "checkpoints": BOTTOM,
    "spectra": BOTTOM,
    "planning": BOTTOM | {"spectra", "checkpoints", "environment", "record_files"},
    "forecasting": BOTTOM | {"checkpoints", "planning"},
    "memory": BOTTOM | {"checkpoints", "planning", "forecasting"},
    "treatments": BOTTOM | {"checkpoints", "planning", "forecasting"},
    "diffing": BOTTOM | {"planning", "spectra", "checkpoints", "environment"},
    "evaluating": BOTTOM | {"tuning", "environment"},
}


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return names


def imported_packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_modules(path)}


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_only_downwards(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    for path in PACKAGES[layer].rglob("*.py"):
        upward = imported_packages(path) & above
        assert not upward, f"{path.relative_to(ROOT)} imports {upward}"


@pytest.mark.parametrize("part", sorted(INSIDE))
def test_parts_of_the_library_import_only_what_they_may(part: str) -> None:
    home = ROOT / "spectrum_ft" / part
    files = home.rglob("*.py") if home.is_dir() else [home.with_suffix(".py")]
    for path in files:
        inside = {
            name.split(".")[1] for name in imported_modules(path) if name.startswith("spectrum_ft.")
        }
        stray = inside - INSIDE[part] - {part}
        assert not stray, f"{path.relative_to(ROOT)} imports {stray}"


# What may import which large libraries; everything else may import none of them.
LARGE = {"tuning": TRAINING_LIBRARIES | {"torch"}, "evaluating": {"torch"}}

# A program of its own, which nothing imports; and what is loaded only where there is a GPU.
ALONE = (
    *("pickle_child.py", "devices.py"),
    *("torch_solver.py", "device_lanes.py", "full_precision.py"),
)


def test_the_training_libraries_and_torch_are_imported_only_where_they_may_be() -> None:
    for path in (path for home in PACKAGES.values() for path in home.rglob("*.py")):
        if path.name in ALONE and not {"tuning", "evaluating"} & set(path.parts):
            continue
        library = PACKAGES["spectrum_ft"]
        part = path.relative_to(library).parts[0] if library in path.parents else ""
        heavy = imported_packages(path) & (TRAINING_LIBRARIES | {"torch"}) - LARGE.get(part, set())
        assert not heavy, f"{path.relative_to(ROOT)} imports {heavy}"


def test_importing_the_package_and_its_help_load_nothing_heavy() -> None:
    code = (
        "import sys, spectrum_ft, spectrum_ft_cli.main as program\n"
        "assert program.run(['--help']) == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_scan_never_loads_torch(tmp_path: Path) -> None:
    from making import write_llama

    write_llama(tmp_path, layers=4)
    code = (
        "import sys, spectrum_ft\n"
        "spectrum_ft.make_plan(spectrum_ft.scan(sys.argv[1]))\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 0


def test_a_report_on_a_terminal_loads_nothing_that_draws_and_a_page_no_torch(
    tmp_path: Path,
) -> None:
    from making import write_llama

    write_llama(tmp_path / "model", layers=4)
    code = (
        "import sys\n"
        "from spectrum_ft_cli.main import run\n"
        "assert run(['scan', 'model', '-o', 'scan.json', '-q', '--no-cache']) == 0\n"
        "assert run(['report', 'scan.json']) == 0\n"
        "drawing = {'matplotlib', 'jinja2', 'spectrum_ft_reports.pages'}\n"
        "heavy = ({'torch'} | drawing) & set(sys.modules)\n"
        "assert run(['report', 'scan.json', '-o', 'scan.html']) == 0\n"
        "heavy |= {'torch', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scan.html").stat().st_size > 0


def test_figures_become_text_in_views_without_a_terminal_a_page_or_a_picture_in_mind() -> None:
    media = {"rich", "jinja2", "markupsafe", "matplotlib"}
    for path in PACKAGES["spectrum_ft_reports"].rglob("views.py"):
        drawn = imported_packages(path) & media
        assert not drawn, f"{path.relative_to(ROOT)} imports {drawn}"


def test_comparing_never_loads_torch_in_its_own_process(tmp_path: Path) -> None:
    code = (
        "import sys, spectrum_ft_cli.compare, spectrum_ft.comparing.comparing\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there_and_listed() -> None:
    import spectrum_ft

    for name in spectrum_ft.__all__:
        assert getattr(spectrum_ft, name).__doc__, name
        assert name in dir(spectrum_ft)
    with pytest.raises(AttributeError, match="no attribute 'sacn'"):
        _ = spectrum_ft.sacn


def test_the_wheel_ships_three_packages_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == set(PACKAGES)
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    home = PACKAGES["spectrum_ft_reports"] / "pages" / "templates"
    for template in home.iterdir():
        assert f"spectrum_ft_reports/pages/templates/{template.name}" in names


def test_no_file_of_ours_is_longer_than_400_lines() -> None:
    for path in (path for home in PACKAGES.values() for path in home.rglob("*.py")):
        assert len(path.read_text("utf-8").splitlines()) <= 400, path
