"""One module per family of models, auto-discovered: how to describe, load and run the models of one kind.

A module defines `FAMILY`, a `preprocess.encoders.spec.Family`, and imports torch and transformers inside its functions,
so that models can be described without them. Its small model in tests/encoders/small_models.py puts it through the
conformance tests; without one the suite fails.
"""
