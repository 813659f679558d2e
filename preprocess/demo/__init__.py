"""The embedded default: a renderer of short videos of moving shapes, and the tiny CLIP that was trained on it."""
