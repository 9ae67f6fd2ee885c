"""Images: folders of them, files, and random changes in training."""
