"""Models: plain `nn.Module`s, and adapters to torchvision and timm.

The contract of a model, here and in a package of your own. A class or function is a model option as soon as a file of
`conf/model` names it; there is nothing else to register.

**Constructor.** All arguments are passed by keyword. Two describe the data:

- `input_shape`: the shape of one encoded example. `(C, H, W)` for pictures, `(C, M, T)` for spectrograms (M frequency
  bands, T frames), `(F,)` for the rows of a table, `(L,)` for texts of at most L tokens.
- `num_outputs`: the number of outputs, >= 1. One for each class, tag or number; classes + 5 for boxes.

Two more are passed to a constructor that has an argument of this name, if the data have such a thing:

- `num_tokens`: the size of the vocabulary (texts).
- `blocks`: how many of the F values of a row belong to each column, 1 for a number, k for a one-hot vector of k
  categories (tables).

All others come from the file in `conf/model`. A `ValueError` names the argument, its value and what is allowed.

**Forward.** From inputs `(B, *input_shape)`, float32, or int64 for tokens, to outputs `(B, num_outputs)`.

**Attributes**, both optional:

- `answers`: `"masks"` if the outputs are a map for each picture, `(B, num_outputs, H, W)`; `"boxes"` if they are the
  predictions of a dense detector, see `DenseDetector`; None, or no such attribute, for one row for each example.
- `mixup_layers`: names of submodules after which manifold_mixup may mix, besides the input. Without them
  `aug=manifold_mixup` needs `aug.layers=[...]`.

Weights are drawn from torch's global generator, which the program seeds for each run.
"""
