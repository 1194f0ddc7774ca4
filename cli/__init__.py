"""The command line, `python -m cli`: what an operator does beside the running service.

`__main__` puts the groups of commands together. `opened` opens what they use. Each other module is a group.
"""
