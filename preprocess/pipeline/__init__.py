"""From samples to shards: what is to be done, who does it, and a record of everything that could not be done."""
