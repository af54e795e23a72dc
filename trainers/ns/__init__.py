"""The nerfstudio method: `ns-train`, `ns-eval` and `ns-viewer` around one `Pretrainer`.

config     configs that become flags and ``config.yml``; every `ns-train` of the machine imports it
trainer    set-up, training, resuming
pipeline   network and data for `ns-eval` and `ns-viewer`       model, datamanager   its two parts
exits      errors as one sentence and an exit status            moved_modules        older ``config.yml`` files

`ns-render dataset` needs a ray data manager, which this method lacks; `ns-eval --render-output-path` writes the same
images. `ns-viewer` shows the first held-out scene; `gaussiancross view` shows all of them, with more layers.

Nothing is imported here: nerfstudio is optional.
"""
