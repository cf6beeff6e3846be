"""The examples that a run would train on, made visible before anything is trained."""
