"""What measures this repository, which nobody needs to train on data of their own."""
