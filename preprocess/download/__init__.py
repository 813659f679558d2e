"""Raw files of published datasets: what is there, what is missing, and downloading what has a public address.

    python -m preprocess download msrvtt --raw ~/msrvtt

Each recipe declares its raw files once (`DatasetSpec.remotes`). A file or archive with a direct address is downloaded:
resumed after an interruption, checked, and moved into place when it is complete. For the rest, the command says how to
obtain it. During a download, its bytes are in `RAW/.downloads/`, which no recipe reads.
"""
