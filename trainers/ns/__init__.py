"""The nerfstudio side: what `ns-train`, `ns-eval` and `ns-viewer` ask of a method, around one `Pretrainer`.

config     the configs that become flags and ``config.yml``; light, read by every `ns-train` of this machine
trainer    set up, train, resume; sentences instead of tracebacks
pipeline   network and data as `ns-eval` loads them      model, datamanager   its two halves

`ns-render dataset` wants a ray data manager and refuses ours: `ns-eval --render-output-path` writes the same pictures.
`ns-viewer` shows the first held-out scene; `gaussiancross view` shows all of them, and more than colour and depth.

Nothing is imported here: nerfstudio is optional.
"""
