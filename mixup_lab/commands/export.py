"""`mixup-lab export RUN_DIR out=model.pt2`: a trained model as one file that needs no mixup-lab."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixup_lab.commands.plain import words_of
from mixup_lab.config.commands import EXPORT
from mixup_lab.config.launch import find_plugins
from mixup_lab.disk import write_atomically, writing
from mixup_lab.types import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

    from mixup_lab.commands.loaded import Trained

EXAMPLES = 16  # of val, that the file is checked on
METADATA = "mixup_lab.json"  # its name among the extra files of torch.export
ONNX = ("onnx", "onnxscript")
CLOSE = 0.01  # largest difference from the run, as a share of the largest answer; bf16 rounds to 0.004


def main(words: Sequence[str]) -> int:
    """Run the command with these words and return the exit code."""
    line = words_of(words, "export", EXPORT)
    if len(line.places) != 1:
        raise UserError("export needs one run: mixup-lab export RUN_DIR out=model.pt2")
    out = line.out(None, [".pt2", ".onnx"])
    missing = [name for name in ONNX if importlib.util.find_spec(name) is None]
    if out.suffix == ".onnx" and missing:
        raise UserError(f"out={out} needs {' and '.join(missing)}: pip install 'mixup-lab[onnx]'")
    find_plugins()
    from mixup_lab.commands.loaded import finished_run, trained

    run = finished_run(line.places[0])
    model = trained(run, ["trainer.device=cpu", *line.machine], "when a run is exported")
    program, difference, count = exported(model)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    _write(program, metadata(model), out)
    print(f"{out}: the largest difference from the run, on {count} examples of val, is {difference:.2g}")
    return 0


def exported(model: Trained) -> tuple[ExportedProgram, float, int]:
    """The program of a model for batches of any size, checked against the run's own outputs.

    Returns:
        The program, its largest difference from the run, and on how many examples of val.

    Raises:
        UserError: for a model that torch cannot export, and if the program gives other outputs than the run.
    """
    import torch

    stored = model.sample(EXAMPLES)
    model.requires_grad_(False).to(memory_format=torch.contiguous_format)  # torch.export keeps no other layout
    some = torch.cat([stored, stored])[: max(2, len(stored))]  # a batch of one would be taken for a constant
    try:
        with warnings.catch_warnings():  # an LSTM takes note of its weights anew; what comes out is checked below
            warnings.filterwarnings("ignore", message="The tensor attributes .* were assigned during export")
            program = torch.export.export(
                model, (some,), dynamic_shapes={"stored": {0: torch.export.Dim("batch")}}, strict=False
            )
    except Exception as error:  # torch raises nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"torch cannot export {type(model.model).__name__}: {reason}") from error
    with torch.inference_mode():
        module = program.module()
        own, found = _own(model, len(stored)), module(stored)
        one_by_one = torch.cat([module(stored[k : k + 1]) for k in range(len(stored))])
    difference = max(float((answer - own).abs().max()) for answer in (found, one_by_one))
    if not difference <= CLOSE * max(1.0, float(own.abs().max())):
        raise UserError(f"the exported program differs from the run by up to {difference:.2g}; nothing is written")
    return program, difference, len(stored)


def _own(model: Trained, count: int) -> Tensor:
    """The answers of the run to the first examples of val, by its own evaluation."""
    run = model.run
    inputs, _ = run.encoded(run.split("val"), np.arange(count))
    return model.task.answer(run.outputs(inputs))


def metadata(model: Trained) -> dict[str, Any]:
    """What a program needs to know about the file: kind and names of the targets, and the form of the inputs."""
    stored = model.sample(1)
    return {
        "kind": model.kind.kind,
        "class_names": model.class_names,
        "input": {
            "noun": model.encoder.noun,
            "dtype": str(stored.dtype).removeprefix("torch."),
            "shape": ["batch", *stored.shape[1:]],
            **model.encoder.about(),
        },
        "run": {key: model.run.start[key] for key in ("fingerprint", "name", "seed")},
    }


def _write(program: ExportedProgram, about: dict[str, Any], out: Path) -> None:
    import torch

    text = json.dumps(about, ensure_ascii=False)
    if out.suffix == ".pt2":
        write_atomically(out, lambda file: torch.export.save(program, file, extra_files={METADATA: text}))
        return
    written = torch.onnx.export(program, dynamo=True)
    assert written is not None
    proto = written.model_proto
    for key, value in about.items():
        proto.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
    write_atomically(out, proto.SerializeToString())
