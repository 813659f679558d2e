"""Other shapes of the same samples: what other projects read in place of embeddings."""
