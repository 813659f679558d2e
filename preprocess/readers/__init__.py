"""Readers that recipes share: annotation files as they are published, and the index of a raw folder."""
