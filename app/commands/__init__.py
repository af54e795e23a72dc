"""One module per command of `gaussiancross`, each with ``main(args)``; see `app.cli`."""
