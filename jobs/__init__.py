"""
The jobs of this site. Each file beside this one is imported when the daemon starts, and each function with `@task` in
it can be submitted. Names that begin with "_" are left alone: put there what several files share.
"""
