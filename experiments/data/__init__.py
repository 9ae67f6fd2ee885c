"""Where examples come from (`sources`) and what is done to their labels (`labels`)."""
