"""Checks JSON Schemas, and values against them, in bounded time.

`outline` finds what makes a schema unusable, `work` estimates a check before it is made, and `validation` makes it.
"""
