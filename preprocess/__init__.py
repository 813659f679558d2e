"""Raw videos and images to per-frame CLIP embeddings: samples, frames, vectors, triples, shards."""
