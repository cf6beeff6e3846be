"""What `mixup-lab COMMAND` does, one file a command."""
