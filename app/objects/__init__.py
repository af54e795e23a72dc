"""Single objects: CLIP-GS classification and retrieval.

load_object.py  an object from any file
search.py       embeddings, towers and galleries for the command line
recognizer.py   `ObjectRecognizer`, shared by all browser sessions
gallery.py      open models and galleries by name
"""
