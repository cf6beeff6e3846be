"""What a run would train on, made visible before anything is trained."""
