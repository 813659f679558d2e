"""A packed dataset with `datasets` of any version: prepared, read one by one and in batches, as NumPy; `folder`.

Prints how long preparing took; facts are the seconds of reading and what the vectors are, read and streamed.
"""

import json
import sys
import tempfile
import time

import datasets

ONE_BY_ONE, BATCH = 300, 100

folder = sys.argv[1]
datasets.disable_progress_bars()
with tempfile.TemporaryDirectory() as cache:
    start = time.perf_counter()
    rows = datasets.load_dataset(folder, split="train", cache_dir=cache)
    prepared = time.perf_counter()
    rows = rows.with_format("numpy")
    read = [rows[i]["npy"] for i in range(min(ONE_BY_ONE, len(rows)))]
    by_one = time.perf_counter()
    for batch in rows.iter(BATCH):
        batch["npy"]
    by_batch = time.perf_counter()
    streamed = next(iter(datasets.load_dataset(folder, split="train", streaming=True, cache_dir=cache)))["npy"]
facts = {
    "one_by_one_s": by_one - prepared,
    "batches_s": by_batch - by_one,
    "numpy": f"{read[0].dtype} {read[0].shape}",
    "streamed": f"{type(streamed).__name__} {getattr(streamed, 'dtype', '')}".strip(),
}
print(json.dumps({"units": len(rows), "seconds": prepared - start, "facts": facts}))
