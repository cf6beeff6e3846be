"""Class names of the 2D sets of MedMNIST, from the authors' medmnist/info.py, shortened."""

_ORGANS = (
    "bladder", "left femur", "right femur", "heart", "left kidney", "right kidney", "liver", "left lung", "right lung",
    "pancreas", "spleen",
)  # fmt: skip
_NAMES = {
    "pathmnist": (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
        "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
    ),
    "chestmnist": (
        "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
        "consolidation", "edema", "emphysema", "fibrosis", "pleural thickening", "hernia",
    ),
    "dermamnist": (
        "actinic keratosis", "basal cell carcinoma", "benign keratosis", "dermatofibroma", "melanoma",
        "melanocytic nevus", "vascular lesion",
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"),
    "breastmnist": ("malignant", "normal or benign"),
    "bloodmnist": (
        "basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte", "neutrophil",
        "platelet",
    ),
    "tissuemnist": (
        "collecting duct", "distal convoluted tubule", "glomerular endothelial cell", "interstitial endothelial cell",
        "leukocyte", "podocyte", "proximal tubule segment", "thick ascending limb",
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}  # fmt: skip


def names_of(name: str, count: int, otherwise: str) -> tuple[str, ...]:
    """The names of `count` classes or tags.

    Args:
        name: of the set or of its file; an ending is ignored: "pathmnist_64".
        count: if the set has another number of names, it is a different set and counts as unknown.
        otherwise: name of classes of unknown sets, before their number: "class" for "class 0".
    """
    names = next((own for start, own in _NAMES.items() if name.lower().startswith(start)), ())
    return names if len(names) == count else tuple(f"{otherwise} {k}" for k in range(count))
