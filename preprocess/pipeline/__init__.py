"""From samples to triples to shards: plan, run a chunk, keep the ledger, pack."""
