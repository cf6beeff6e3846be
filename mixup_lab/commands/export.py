"""`mixup-lab export RUN_DIR out=model.pt2`: a trained model as one file that needs no mixup-lab."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any, TypeAlias

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

Content: TypeAlias = "bytes | Callable[[IO[bytes]], object]"  # of a file
EXAMPLES = 16  # of val, that the file is checked on
METADATA = "mixup_lab.json"  # its name among the extra files of torch.export
ONNX = ("onnx", "onnxscript", "onnxruntime")
ANSWER = "answer"  # the name of the output in ONNX; the input is called as the parameter of `Trained.forward`
CLOSE = 0.01  # largest difference from the run, as a share of the largest answer; bf16 rounds to 0.004


def main(words: Sequence[str]) -> int:
    """Run the command with these words and return the exit code."""
    line = words_of(words, "export", EXPORT)
    if len(line.places) != 1:
        raise UserError("export needs one run: mixup-lab export RUN_DIR out=model.pt2")
    out = line.out(None, [".pt2", ".onnx"])
    missing = [name for name in ONNX if importlib.util.find_spec(name) is None]
    if out.suffix == ".onnx" and missing:
        raise UserError(f"out={out} needs {', '.join(missing)}: pip install 'mixup-lab[onnx]'")
    find_plugins()
    from mixup_lab.commands.loaded import finished_run, trained

    run = finished_run(line.places[0])
    model = trained(run, ["trainer.device=cpu", *line.machine], "when a run is exported")
    stored = model.sample(EXAMPLES)
    program, about = exported(model, stored), metadata(model)
    outputs, content = _as_onnx(program, about) if out.suffix == ".onnx" else _as_program(program, about)
    difference = checked(model, stored, outputs)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, content)
    print(f"{out}: the largest difference from the run, on {len(stored)} examples of val, is {difference:.2g}")
    return 0


def exported(model: Trained, stored: Tensor) -> ExportedProgram:
    """The program of a model for batches of any size, made with some stored examples.

    Raises:
        UserError: for a model that torch cannot export.
    """
    import torch

    model.requires_grad_(False).to(memory_format=torch.contiguous_format)  # torch.export keeps no other layout
    some = torch.cat([stored, stored])[: max(2, len(stored))]  # a batch of one would be taken for a constant
    try:
        with warnings.catch_warnings():  # an LSTM takes note of its weights anew; what comes out is checked below
            warnings.filterwarnings("ignore", message="The tensor attributes .* were assigned during export")
            return torch.export.export(
                model, (some,), dynamic_shapes={"stored": {0: torch.export.Dim("batch")}}, strict=False
            )
    except Exception as error:  # torch raises nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"torch cannot export {type(model.model).__name__}: {reason}") from error


def checked(model: Trained, stored: Tensor, outputs: Callable[[Tensor], Tensor]) -> float:
    """The largest difference between the outputs of a file and those of the run, for examples of val.

    Args:
        model: of the run.
        stored: the first examples of val.
        outputs: of the file, for stored examples.

    Raises:
        UserError: if they differ by more than rounding.
    """
    import torch

    with torch.inference_mode():
        own, found = _own(model, len(stored)), outputs(stored)
        one_by_one = torch.cat([outputs(stored[k : k + 1]) for k in range(len(stored))])
    difference = max(float((answer - own).abs().max()) for answer in (found, one_by_one))
    if not difference <= CLOSE * max(1.0, float(own.abs().max())):
        raise UserError(f"the exported program differs from the run by up to {difference:.2g}; nothing is written")
    return difference


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


def _as_program(program: ExportedProgram, about: dict[str, Any]) -> tuple[Callable[[Tensor], Tensor], Content]:
    """The outputs of a program, and the file of it for `torch.export.load`."""
    import torch

    extra = {METADATA: json.dumps(about, ensure_ascii=False)}
    return program.module(), lambda file: torch.export.save(program, file, extra_files=extra)


def _as_onnx(program: ExportedProgram, about: dict[str, Any]) -> tuple[Callable[[Tensor], Tensor], Content]:
    """The outputs of a program translated to ONNX, computed by onnxruntime, and the file of it."""
    import torch

    written = torch.onnx.export(
        program, dynamo=True, verbose=False, output_names=[ANSWER], dynamic_shapes={"stored": {0: "batch"}}
    )
    assert written is not None
    proto = written.model_proto
    for key, value in about.items():
        proto.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
    return lambda stored: written(stored.contiguous())[0], proto.SerializeToString()
