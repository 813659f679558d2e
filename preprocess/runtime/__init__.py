"""Where work runs: run options, executors, and the runner of keyed items. Knows nothing of video."""
