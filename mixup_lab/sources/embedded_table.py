"""Four small tables, included in this package: no download. Values as in scikit-learn, in float32.

- `breast_cancer`: 569 tumours, 30 measures of cell nuclei, malignant or benign. W. Wolberg, O. Mangasarian, N. Street
  and W. Street (1993), *Breast Cancer Wisconsin (Diagnostic)*, UCI, https://doi.org/10.24432/C5DW2B, licence CC BY 4.0.
- `wine`: 178 wines, 13 chemical measures, three cultivars. S. Aeberhard and M. Forina (1991), *Wine*, UCI,
  https://doi.org/10.24432/C5PC7J, licence CC BY 4.0.
- `iris`: 150 flowers, 4 measures, three species. R. A. Fisher (1936), *Iris*, UCI, https://doi.org/10.24432/C56C76,
  licence CC BY 4.0; with the two wrong rows of that file corrected after Fisher's paper.
- `diabetes`: 442 patients, age, sex, body mass index, blood pressure and six blood serum measures, to predict how far
  the disease has gone after a year. B. Efron, T. Hastie, I. Johnstone and R. Tibshirani (2004), *Least Angle
  Regression*, Annals of Statistics 32, 407-499. The original values, not those that scikit-learn scales over all rows.
"""

from dataclasses import replace
from functools import partial
from importlib.resources import files

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files.keys import check_choice
from mixup_lab.sources.new_rows import Form, NewRows
from mixup_lab.sources.table import with_encoder
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.targets.target import Target

TABLES = ("breast_cancer", "wine", "iris", "diabetes")
PROGRESSION = "progression"  # the target of diabetes, after a year


class EmbeddedTable:
    """One of these tables as one pool of rows; val and test are carved from it.

    Args:
        name: of the table, one of TABLES.

    Raises:
        UserError: for any other name.
    """

    def __init__(self, name: str) -> None:
        check_choice("name", name, TABLES)
        self.name = name

    def load(self) -> Loaded:
        """Read the file in this package."""
        with (
            files("mixup_lab.sources").joinpath("embedded", f"{self.name}.npz").open("rb") as file,
            np.load(file) as arrays,
        ):
            kind: Target
            if "classes" in arrays:
                kind, target = Classes(tuple(arrays["classes"].tolist())), arrays["target"].astype(np.int64)
            else:
                kind, target = Numbers((PROGRESSION,)), arrays["target"].astype(np.float32)[:, None]
            forms = list(map(Form, arrays["columns"].tolist()))
            loaded = Loaded(ArrayPool(arrays["inputs"], target), None, None, kind, new=NewRows(forms))
        return replace(loaded, fit=partial(with_encoder, loaded, forms))
