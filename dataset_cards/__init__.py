"""What a Hub page says of a dataset: statistics, evaluation, figures, and the card that is made of them."""
