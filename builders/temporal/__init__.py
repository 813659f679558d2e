"""Features of a packed dataset in the layouts of projects that train temporal models: one file per project.

`write.py` reads the dataset; another project is one more module here, and an entry of the table `LAYOUTS` there.
"""
