"""Shards to Arrow, to PyTorch and to the Hub; the proof that a folder of shards is what it says it is."""
