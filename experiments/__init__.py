"""The one room with a command line, files, progress bars and plots.

It composes the library rooms, which know nothing of it: configs name a glue module, the glue
builds an experiment, and one loop runs it, saves it, resumes it and reports it.
"""
