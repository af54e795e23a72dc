"""Search scenes for phrases, examples and picks.

search.py     text encoders and queryable features of a loaded scene
answer.py     selections and objects for each phrase
picking.py    clicks and rectangles → Gaussians and scores
histogram.py  SVG histogram of scores
boxes.py      boxes around objects
pictures.py   heat maps and selections from the best views
report.py     files of a query
"""
