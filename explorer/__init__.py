"""Find the moment: search, explore and filter a built dataset by its embeddings; nothing is encoded again."""
