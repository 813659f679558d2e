"""The files a dataset is made of: triples, tars, shards, `splits.csv`, `sizes.json`, `manifest.json`.

What a finished dataset looks like:

    CLIP-MSRVTT/
    ├── splits.csv       tar_file,split
    ├── ds_00000.tar     vid_00000.npy vid_00000.txt vid_00000.json vid_00001.npy …
    ├── sizes.json       {"ds_00000.tar": 10000, …}
    └── manifest.json    where it comes from, and the sha256 of every shard
"""
