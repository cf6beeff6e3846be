"""The commands, their flags, and the keys of `compare` and `report` that do not go to Hydra.

It imports nothing heavy, since help and completion need it.
"""

from typing import NamedTuple


class Command(NamedTuple):
    """A command, and the code that runs it as "module:function".

    `job` takes the configuration that Hydra composes for a run. `program` takes the words of the line and returns
    the exit code; without one, the words go to Hydra.
    """

    about: str
    job: str | None = None
    program: str | None = None


COMMANDS = {
    "compare": Command(
        "Compare Mixup with the baseline over alphas and seeds, with statistics.",
        job="mixup_lab.commands.cell:cell",
        program="mixup_lab.commands.compare:main",
    ),
    "train": Command(
        "Train a model, with or without mixing; with -m a whole sweep.", job="mixup_lab.commands.train:train"
    ),
    "preview": Command(
        "Draw the data of a run without training: examples, mixtures, the law of lam.",
        job="mixup_lab.commands.preview:preview",
    ),
    "evaluate": Command(
        "Look closer at finished runs: calibration, robustness and other lenses.",
        job="mixup_lab.commands.look_job:look_at_one",
        program="mixup_lab.commands.evaluate:main",
    ),
    "report": Command(
        "Analyse recorded runs again, or a table from another trainer.",
        program="mixup_lab.commands.report:main",
    ),
    "predict": Command(
        "Let trained models predict new files: pictures, sounds, rows of a table, texts; masks and boxes too.",
        program="mixup_lab.commands.predict:main",
    ),
    "export": Command(
        "Write a trained model, with its preprocessing, as one file for torch.export or ONNX.",
        program="mixup_lab.commands.export:main",
    ),
}
SHELLS = ("bash", "zsh", "fish")


class Flag(NamedTuple):
    """A flag of the line."""

    names: tuple[str, ...]
    about: str
    value: str = ""  # the word after it, as the help shows it
    values: tuple[str, ...] = ()  # all allowed values, if they can be listed
    shows: bool = False  # shows something instead of running
    top: bool = False  # works without a command too


_CFG = ("job", "hydra", "all")
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
COMPLETION = ("-sc", "--shell-completion")
FLAGS = (
    Flag(
        ("-h", "--help"),
        "this text; GROUP -h: its options; GROUP=OPTION -h: its keys",
        top=True,
    ),
    Flag(("-m", "--multirun"), "run every combination of the values separated by commas"),
    Flag(("-c", "--cfg"), "print the configuration instead of running", f"{{{','.join(_CFG)}}}", _CFG, shows=True),
    Flag(("-p", "--package"), "with --cfg: only this part of it", "KEY", shows=True),
    Flag(("--resolve",), "with --cfg: with interpolations resolved", shows=True),
    Flag(("-i", "--info"), "how the configuration was composed", f"[{{{','.join(_INFO)}}}]", _INFO, shows=True),
    Flag(("-cd", "--config-dir"), "a folder with options of your own", "DIR"),
    Flag(("-cn", "--config-name"), "another primary configuration, usually from your folder", "NAME"),
    Flag(
        COMPLETION,
        "print the shell's script for completion",
        f"{{install,uninstall}}={{{','.join(SHELLS)}}}",
        tuple(f"{action}={shell}" for action in ("install", "uninstall") for shell in SHELLS),
        top=True,
    ),
    Flag(("--hydra-help",), "Hydra's own help", shows=True),
    Flag(("--version",), "versions of mixup-lab, Python and torch", top=True),
    Flag(("--debug",), "show the whole traceback of an error", top=True),
)

LAUNCHERS = {
    "basic": "one run after the other, in this process",
    "slots": "a queue: as many runs side by side as there are GPUs, or CPU cores; see below",
    "joblib": "local processes, if installed (mixup-lab[joblib])",
    "submitit_slurm": "a job of Slurm for each run, if installed (mixup-lab[submitit]); submitit_local: without Slurm",
}
SLOTS = {  # key of hydra/launcher=slots -> default, comment
    "slots": ("auto", "runs side by side; auto: slots_per_gpu on each GPU, without a GPU one on each core"),
    "slots_per_gpu": ("1", "runs that share one GPU; small models leave a GPU idle, so try 2 to 4"),
    "threads": ("auto", "CPU threads of a run; auto: the cores divided by the slots"),
}

ANALYSIS = {
    "metric": "NAME of the metric to decide by; default: the task's own",
    "maximize": "true if higher is better, false if lower; default: the task's own, or clear from the name",
    "baseline": "NAME of the arm to compare all others with; default: the unmixed one with the same settings",
    "min_effect": "smallest difference of interest, in points for metrics in percent (default 0.1)",
}
COMPARE = {
    "study": "NAME of the study, a folder below outputs; default: DATASET-MODEL, or the name of your own data",
    "confirm": "N: then train each baseline and its best arm on N fresh seeds, and judge by those alone (default 0)",
    "until": "decided: add seeds in steps, drop arms that are decided, and stop when no arm is left open",
    "max_seeds": "N seeds at most with until=decided (default 24)",
    "fail_fast": "true: stop at the first run that fails (default false)",
    "lenses": "NAMES of lenses, such as [calibration,gap], that look at the runs in the end; see evaluate --help",
    "lens.NAME.KEY": "a setting of one of these lenses, such as lens.calibration.bins=20",
    **ANALYSIS,
}
REPORT = {
    **ANALYSIS,
    "out": "DIR for the report; default: the first folder",
    "arm": "COLUMN that names the arm in a table of another trainer (default arm)",
    "seed": "COLUMN of the seed in such a table (default seed)",
}
EVALUATE = {
    "lens": "NAMES of lenses, such as [calibration,gap]; default: all that need no more than the predictions",
    "lens.NAME.KEY": "a setting of a lens, such as lens.calibration.bins=20",
    "again": "true: look again where there is a finding already (default false)",
    "hydra/launcher": "slots, joblib, ...: a job for each run, set by hydra.launcher.KEY; default: one after the other",
    "trainer.device": "where models are evaluated; other settings of the machine likewise, such as dataset.root",
    **{key: f"{about}; for the report of a study" for key, about in ANALYSIS.items()},
}
_MACHINE = "where the model runs; other settings of the machine likewise, such as dataset.root"
_OVERWRITE = "true: replace the file if it exists (default false)"
PREDICT = {
    "out": "FILE.csv (default predictions.csv); for masks a DIR of PNGs (predictions); for boxes a FILE.json",
    "calibrated": "true: divide logits by the temperature that suits the run's val (default false)",
    "columns": "[ID,LABEL]: write these two columns alone, ids and predictions, as competitions want it",
    "overwrite": "true: replace the file, or files in DIR, if they exist (default false)",
    "trainer.device": _MACHINE,
}
EXPORT = {
    "out": "FILE.pt2 (torch.export) or FILE.onnx",
    "overwrite": _OVERWRITE,
    "dataset.root": "where the data of training are now; other settings of the machine likewise",
}
TRAIN = {"from": "RUN_DIR: a new run with the settings of that run, but for those of this line"}
OWN = {"train": TRAIN, "compare": COMPARE, "report": REPORT, "evaluate": EVALUATE, "predict": PREDICT, "export": EXPORT}
