"""Exports of the same samples in the formats of other projects."""
