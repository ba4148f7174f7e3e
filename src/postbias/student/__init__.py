"""The student: encoders, training and export; the only torch and transformers imports."""
