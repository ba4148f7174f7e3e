"""Importers: a raw export in, post shards and rejects out."""
