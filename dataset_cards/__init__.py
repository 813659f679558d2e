"""The Hub page of a dataset: statistics, evaluation, figures, and the card that reports them."""
