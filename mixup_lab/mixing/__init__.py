"""The maths of mixing: pure functions of tensors, and the classes that draw lam and partners."""
