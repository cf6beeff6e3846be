"""The commands of `mixup-lab`: one file each, and the files that they share."""
