"""Benchmarks, one module per published figure, run by `gaussiancross bench NAME`.

A module without leading underscore that defines ``main`` is a benchmark: ``main()`` reads its options from ``sys.argv``
and may return an exit status. The first line of its docstring is its help.

quality   rooms (package rooms_bench), objects, open_vocabulary, livingroom, livingroom_words, words
speed     splat, sparse, grouping, tiny_step, feed, memory, gpu, clipgs, metrics, query, picking, object_index, viewer,
          large, formats
duration  soak
shared    _machine (environment, reports), _charts, _data (synthetic data), _building (of rooms), _format_jobs,
          _parts (timing of a step's parts), _browser and _watched (simulated browsers), _vocabulary (text
          queries with known answers), _object_rows, _gpu_inputs, _gpu_sections and _gpu_speed (the parts of gpu)
"""
