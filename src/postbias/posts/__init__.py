"""Posts: their tables, images, importers, sampling and folds."""
