"""Files made from scenes, as work in small steps.

work.py         `Work`, `Progress`, `Download`, `finish`
pictures.py     PNG of any size
camera_path.py  poses and paths; video.py: videos along them or over steps; video_files.py: GIF and MP4 writers
files.py        splats, features, selections
offline.py      a scene as one HTML file
refining.py     Gaussians that are optimised against the scene's frames
"""
