"""mixup-lab: does Mixup help my data, with my model, at which alpha, and is the gain more than noise?"""

__version__ = "0.1.0"
