"""The quality of the embeddings of a packed dataset, measured on its shards with the text tower of their model.

zero_shot.py     labels as prompts: top-1, top-5
linear_probe.py  logistic regression on train: top-1, top-5
retrieval.py     captions to videos and videos to captions: R@1, R@5, R@10, ranks
leakage.py       near-duplicates across splits
run.py           all of them, into data/work/<hub_name>/evaluation.json
"""
