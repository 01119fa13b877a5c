"""Say how sure a score is: intervals, bounds for gates, comparisons. Pure functions, without input or output.

Import from the modules: `scores` chooses the method for a score; the other modules hold the methods.
"""
