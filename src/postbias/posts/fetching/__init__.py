"""Downloads of the images that a table names by address.

The run keeps limits of requests per host and connects to public addresses only, because addresses
come from data that others wrote. Needs the extra `pipeline`.
"""
