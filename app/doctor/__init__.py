"""Checks of the installation for `gaussiancross doctor`.

checks.py       one function per package or resource
report.py       run all checks and print their results
environment.py  versions, memory, CUDA; commands that install packages
kernels.py      run the kernels forward and backward
"""
