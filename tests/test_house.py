"""The house: imports only point down its floors, and importing has no effect on anything else."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import CHECKOUT, environment

PACKAGE = CHECKOUT / "mixup_lab"
# Room -> the rooms that it may import beside itself and the ground floor.
GROUND = {"__init__", "types", "seeding"}
TOP = {"cli", "config", "commands", "__main__", "plugins"}
MAY_IMPORT = {
    **{room: set() for room in ("__init__", "types", "seeding", "mixing", "models", "tasks", "runs")},
    "data": {"tasks"},
    "training": {"data", "models", "tasks", "mixing", "runs"},
    "evaluation": {"training", "data", "models", "tasks", "runs"},
    "study": {"runs"},
    "preview": {"training", "data", "models", "tasks", "mixing", "runs", "study"},  # of study the look of pictures
}
MODULES = sorted(PACKAGE.rglob("*.py"))
NO_TORCH = (
    "mixup_lab", "mixup_lab.types", "mixup_lab.seeding", "mixup_lab.cli", "mixup_lab.commands.train",
    "mixup_lab.commands.preview",
    "mixup_lab.runs.record", "mixup_lab.runs.files", "mixup_lab.runs.tensorboard", "mixup_lab.training.settings",
    *(f"mixup_lab.config.{name}" for name in
      ("schema", "help", "errors", "completion", "identity", "launch", "tree", "nearest", "build")),
    *(".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in sorted(PACKAGE.glob("study/**/*.py"))),
)  # fmt: skip


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """Full names of all modules that a file imports, at whatever place."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "mixup_lab" else {module}
    return names


def rooms_imported(path: Path) -> set[str]:
    known = {room(module) for module in MODULES}
    inner = {[*name.split("."), "__init__"][1] for name in imported(path) if name.split(".")[0] == "mixup_lab"}
    return {name if name in known else "__init__" for name in inner}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = room(path)
    if here in TOP:
        return
    assert here in MAY_IMPORT, f"a new room: say on which floor {here} is"
    allowed = MAY_IMPORT[here] | (GROUND if here not in GROUND else {"__init__"}) | {here}
    assert rooms_imported(path) <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_configuration_stops_at_the_top_floor(path):
    tops = {name.split(".")[0] for name in imported(path)}
    assert room(path) in TOP or not tops & {"omegaconf", "hydra"}


def test_the_reader_of_imports_sees_every_form(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "import os, mixup_lab.data.fake as f\nfrom mixup_lab import seeding\nfrom mixup_lab.runs.log import RunLog\n"
        "def g():\n    if 1:\n        from hydra.utils import instantiate\n    import mixup_lab\n"
    )
    assert imported(path) == {
        "os", "mixup_lab.data.fake", "mixup_lab.seeding", "mixup_lab.runs.log", "hydra.utils", "mixup_lab"
    }  # fmt: skip
    assert rooms_imported(path) == {"data", "seeding", "runs", "__init__"}


def python(script: str, *words: str) -> str:
    line = [sys.executable, "-c", script, *words]
    done = subprocess.run(line, cwd=CHECKOUT, env=environment(), capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_what_answers_at_once_imports_no_torch():
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules:\n"
        "        sys.exit(print(name, 'imports torch'))\n"
    )
    assert python(script, *NO_TORCH) == ""


SIDE_EFFECTS = """
import importlib, json, os, random, signal, sys, threading, warnings
import hydra, numpy, omegaconf, rich.progress, tensorboard.compat, torch, torchvision
import PIL.Image, PIL.ImageDraw, PIL.ImageFont
import matplotlib.figure, rich.live, scipy.sparse, scipy.special, yaml
from torch.utils.tensorboard import SummaryWriter

def state():
    return {
        "random": repr(random.getstate()), "numpy": repr(numpy.random.get_state()[1].tolist()),
        "torch": repr(torch.get_rng_state().tolist()), "environ": dict(os.environ), "path": list(sys.path),
        "filters": repr(warnings.filters), "showwarning": repr(warnings.showwarning),
        "threads": [torch.get_num_threads(), threading.active_count()], "dtype": repr(torch.get_default_dtype()),
        "handlers": [repr(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)], "cwd": os.getcwd(),
        "deterministic": torch.are_deterministic_algorithms_enabled(), "hooks": repr((sys.excepthook, sys.displayhook)),
    }

before = state()
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
    after = state()
    print(*(f"{name} changes {key}" for key in before if before[key] != after[key]), sep="")
    before = after
"""


def test_importing_changes_nothing_else():
    names = [".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in MODULES]
    names = [name.removesuffix(".__init__") for name in names if "hydra_plugins" not in name]
    assert len(names) > 40
    assert python(SIDE_EFFECTS, json.dumps(names)).split() == []
