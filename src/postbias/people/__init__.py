"""People: which posts they rate, what they answered, and what follows from it.

The sample of posts to rate, the store of ratings, agreement between raters, teacher and student,
calibration of the teacher to people, and estimates of what people would say of all posts.
"""
