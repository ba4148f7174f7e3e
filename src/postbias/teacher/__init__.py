"""The teacher: rubric, replies and labels."""
