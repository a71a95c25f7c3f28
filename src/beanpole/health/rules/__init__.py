"""When an instance, and an environment, is well, and the sentences that say why not.

Pure: facts of the last minute go in, a health with its causes comes out. The time is a parameter.
"""
