"""Training sets for long-video diffusion models, in stages of 3 to 63 seconds: scenes, latents, texts, JSONL.

One line of `train_09s.jsonl`, which ttt-video-dit's `PreembeddingDataset` reads as it is:

    {"vid_emb": "latents/09s/tom_09s_0000_6d1f09c2.pt",
     "text_chunk_emb": ["text/502/3b6f0c2d5e7a9148_start.pt", "text/502/9a…_none.pt", "text/502/c4…_end.pt"]}

The way there, one module each: `scenes` (or `detect`) → `segments` → `latents` and `text` → `jsonl` → `check`.
"""
