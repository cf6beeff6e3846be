"""The house: imports only point down its floors, no files import each other in a circle, importing changes nothing."""

import ast
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

from helpers.pages import table
from helpers.processes import CHECKOUT, environment

PACKAGE = CHECKOUT / "mixup_lab"
# Room -> the rooms that it may import, besides itself and the ground floor. `docs/architecture.md` has the same table.
GROUND = ("__init__", "types", "seeding", "disk", "npz", "visible", "notices", "sharing", "look", "pasting")
FIRST = ("files", "inputs", "mixing", "models", "runs", "targets")
MAY_IMPORT = {
    **dict.fromkeys((*GROUND, *FIRST), ()),
    "__init__": ("commands",),  # `mixup_lab.load`, imported when it is asked for
    "data": ("inputs", "targets"),
    "transforms": ("inputs",),
    "sources": ("data", "files", "inputs", "targets"),
    "training": ("data", "inputs", "mixing", "models", "runs", "targets", "transforms"),
    "study": ("files", "runs"),
    "evaluation": ("training", "data", "inputs", "mixing", "models", "runs", "targets", "transforms"),
    "preview": ("training", "data", "inputs", "mixing", "models", "runs", "targets", "transforms"),
    "config": ("training", "data", "inputs", "mixing", "models", "runs", "targets", "transforms"),
    "commands": ("config", "evaluation", "preview", "study", "training", "runs", "targets", "data"),
    "cli": ("config", "commands"),
    "plugins": ("config", "commands", "training", "runs"),
    "__main__": ("cli",),
}
MODULES = sorted(PACKAGE.rglob("*.py"))
NO_TORCH = (
    "mixup_lab", "mixup_lab.types", "mixup_lab.seeding", "mixup_lab.cli", "mixup_lab.commands.train",
    "mixup_lab.commands.preview", "mixup_lab.commands.compare", "mixup_lab.commands.report",
    "mixup_lab.commands.evaluate", "mixup_lab.commands.predict", "mixup_lab.commands.export", "mixup_lab.runs.findings",
    "mixup_lab.runs.record", "mixup_lab.disk", "mixup_lab.runs.tensorboard", "mixup_lab.training.settings",
    *(f"mixup_lab.config.{name}" for name in
      ("schema", "help", "errors", "completion", "identity", "launch", "tree", "nearest", "build", "words")),
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
            names |= {f"{module}.{alias.name}" for alias in node.names} if _is_folder(module) else {module}
    return names


def _is_folder(module: str) -> bool:
    """Whether names imported from here may be modules: the package itself, and its rooms."""
    return module.split(".")[0] == "mixup_lab" and (CHECKOUT.joinpath(*module.split("."))).is_dir()


def modules_imported(path: Path) -> set[Path]:
    """The files of the package that a file imports."""
    found = set()
    for name in imported(path):
        if name.split(".")[0] == "mixup_lab":
            place = CHECKOUT.joinpath(*name.split("."))
            candidates = (place.with_suffix(".py"), place / "__init__.py", place.parent / "__init__.py")
            found.add(next(candidate for candidate in candidates if candidate.is_file()))
    return found


def test_imports_point_down_the_floors():
    wrong = []
    for path in MODULES:
        here = room(path)
        assert here in MAY_IMPORT, f"a new room: say on which floor {here} is"
        allowed = {*MAY_IMPORT[here], *(GROUND if here not in GROUND else GROUND[: GROUND.index(here)]), here}
        wrong += [f"{path.relative_to(PACKAGE)} imports {other}" for other in map(room, modules_imported(path))
                  if other not in allowed]  # fmt: skip
    assert wrong == []


def test_the_table_of_floors_has_no_way_back_up():
    TopologicalSorter(MAY_IMPORT).prepare()  # raises CycleError


def test_the_page_has_the_same_table():
    rows = table(CHECKOUT / "docs" / "architecture.md", "floor", "room", "content", "may import")
    said = {room.strip("`"): set(re.findall(r"`(\w+)`", others)) for _, room, _, others in rows}
    assert said == {room: set(others) for room, others in MAY_IMPORT.items() if room not in (*GROUND, "__main__")}
    floors = {room.strip("`"): int(floor) for floor, room, *_ in rows}
    assert list(floors.values()) == sorted(floors.values(), reverse=True)
    for room, others in MAY_IMPORT.items():
        for other in others if room in floors else ():
            assert floors[other] < floors[room], f"{other} is not below {room} on the page"


def test_no_circle_of_files():
    graph = {path: modules_imported(path) - {path} for path in MODULES if path.name != "__init__.py"}
    TopologicalSorter(graph).prepare()


CONTRACTS = {"Target": "targets", "Encoder": "inputs", "Mixer": "mixing"}  # base class -> its room
# What is not ours is asked for its attributes: the standard library, torch, errors of others, a model of anybody.
LOOKS_ALLOWED = {
    "config/build.py": "any object that a _target_ names",
    "config/errors.py": "errors of Hydra",
    "config/launch.py": "errors of any job, signals of the system",
    "config/tree.py": "the fast reader of yaml, which some installations lack",
    "config/assemble.py": "`answers`, which a model may declare",
    "mixing/inside.py": "`mixup_layers`, which a model may declare",
    "models/checks.py": "the output of a model of another library",
    "files/picture.py": "formats of Pillow",
    "files/threads.py": "functions that some systems lack",
    "study/reading.py": "the fast reader of yaml, which some installations lack",
    "training/device.py": "functions that some versions of torch lack",
    "training/optimizers.py": "functions of torch",
    "training/stop.py": "signals that some systems lack",
}


def kinds_of(base: str) -> set[str]:
    """Names of all subclasses of a base class in the package, by the names in their class statements."""
    bases = {
        node.name: {ast.unparse(parent) for parent in node.bases}
        for path in MODULES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    }  # fmt: skip
    found = {base}
    while more := {name for name, parents in bases.items() if parents & found} - found:
        found |= more
    return found - {base}


def switches(tree: ast.AST, kinds: set[str]) -> list[int]:
    """Lines with `isinstance(x, K)` or `type(x) is K` for one of these kinds."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked = node.args[1]
        elif isinstance(node, ast.Compare) and ast.unparse(node.left).startswith("type("):
            asked = node.comparators[0]
        else:
            continue
        if {name.id for name in ast.walk(asked) if isinstance(name, ast.Name)} & kinds:
            lines.append(node.lineno)
    return lines


def looks(tree: ast.AST) -> list[int]:
    """Lines with `hasattr` or with `getattr` and a default."""
    return [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call)
        and (ast.unparse(node.func) == "hasattr" or (ast.unparse(node.func) == "getattr" and len(node.args) == 3))
    ]  # fmt: skip


def test_public_methods_are_documented_here_or_in_their_contract():
    nodes = (node for path in MODULES for node in ast.walk(ast.parse(path.read_text())))
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}

    def documented(name: str, method: str) -> bool:
        owner = classes.get(name.partition("[")[0].rpartition(".")[2])
        if owner is None:
            return False
        found = [item for item in owner.body if isinstance(item, ast.FunctionDef) and item.name == method]
        return any(map(ast.get_docstring, found)) or any(documented(ast.unparse(b), method) for b in owner.bases)

    missing = [
        f"{name}.{item.name}" for name, node in classes.items() if not name.startswith("_") for item in node.body
        if isinstance(item, ast.FunctionDef) and not item.name.startswith("_") and not documented(name, item.name)
    ]  # fmt: skip
    assert missing == []


def test_nobody_asks_of_which_kind_something_is():
    wrong = []
    for base, home in CONTRACTS.items():
        kinds = kinds_of(base)
        assert len(kinds) > 3, f"{base} has lost its subclasses"
        for path in MODULES:
            if room(path) != home:
                wrong += [
                    f"{path.relative_to(PACKAGE)}:{line}" for line in switches(ast.parse(path.read_text()), kinds)
                ]
    assert wrong == []


def test_contracts_have_defaults_so_that_nobody_looks_for_methods():
    found = {str(p.relative_to(PACKAGE)): looks(ast.parse(p.read_text())) for p in MODULES if room(p) != "plugins"}
    assert {name: lines for name, lines in found.items() if lines and name not in LOOKS_ALLOWED} == {}
    assert {name for name in LOOKS_ALLOWED if not found[name]} == set(), "an exception that is no longer needed"


def test_the_finders_of_switches_see_every_form():
    code = "isinstance(x, A)\nisinstance(x, (B, C))\ntype(x) is A\nisinstance(x, a.B | A)\nisinstance(x, C)\n"
    assert switches(ast.parse(code), {"A", "B"}) == [1, 2, 3, 4]
    assert looks(ast.parse("hasattr(a, 'b')\ngetattr(a, 'b', None)\ngetattr(a, 'b')\n")) == [1, 2]


def test_the_configuration_stops_at_the_top_floor():
    for path in MODULES:
        tops = {name.split(".")[0] for name in imported(path)}
        assert room(path) in ("config", "commands", "plugins") or not tops & {"omegaconf", "hydra"}, path


def test_the_reader_of_imports_sees_every_form(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "import os, mixup_lab.sources.fake as f\nfrom mixup_lab import seeding\nfrom mixup_lab.runs.log import RunLog\n"
        "from mixup_lab.config import identity\n"
        "def g():\n    if 1:\n        from hydra.utils import instantiate\n    import mixup_lab\n"
    )
    assert imported(path) == {
        "os", "mixup_lab.sources.fake", "mixup_lab.seeding", "mixup_lab.runs.log", "mixup_lab.config.identity",
        "hydra.utils", "mixup_lab",
    }  # fmt: skip
    assert {str(found.relative_to(PACKAGE)) for found in modules_imported(path)} == {
        "sources/fake.py", "seeding.py", "runs/log.py", "config/identity.py", "__init__.py"
    }  # fmt: skip


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
