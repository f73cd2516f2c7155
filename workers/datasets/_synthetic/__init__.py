"""The synthetic benchmark in pieces: what a scene is made of, and how sequences are stored.

Read strata.py (what is asked of a scene), cast.py (who plays in it), scene.py (how it is drawn).
"""
