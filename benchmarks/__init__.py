"""One module per published figure, run by `gaussiancross bench NAME`.

A module here whose name has no leading underscore and that defines ``main`` is a benchmark: ``main()`` reads its
options from ``sys.argv`` and may return an exit status. The first line of its docstring is its help.
"""
