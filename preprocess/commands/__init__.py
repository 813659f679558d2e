"""The commands of `python -m preprocess` that make a dataset: each parses, calls, prints."""
