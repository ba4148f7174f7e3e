"""Download the images that tables name by address. Needs the extra `pipeline`."""
