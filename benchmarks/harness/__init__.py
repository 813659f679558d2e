"""What all benchmarks share: runs in turn, what each used, the result file, the table in the README."""
