"""The embedded demo dataset: a renderer of short videos of moving shapes, and the tiny CLIP trained on them."""
