"""Plain `nn.Module`s that map pictures `(B, C, H, W)` to logits `(B, num_outputs)`, and adapters to other libraries.

Every constructor is called with keywords: `input_shape=(C, H, W)` and `num_outputs` come from the dataset and the task,
the rest from `conf/model/*.yaml`. A file is its own registration: nothing has to be listed here.
"""
