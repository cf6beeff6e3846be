"""Names of the classes of the 2D sets of MedMNIST, as their authors give them (medmnist/info.py, shortened)."""

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
        name: of the set or of its file; what follows the name of a set counts for nothing: "pathmnist_64".
        count: how many there must be; a set of that name with another number is not the one that is meant.
        otherwise: what an unknown one is called, with its number: "class 0".
    """
    names = next((own for start, own in _NAMES.items() if name.lower().startswith(start)), ())
    return names if len(names) == count else tuple(f"{otherwise} {k}" for k in range(count))
