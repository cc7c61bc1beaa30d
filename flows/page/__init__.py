"""The page: a study in a browser, to draw by hand, compare with photographs, and accept images into an arm."""
