"""Tell facts one after another to several methods, ask after each and at the end, and compare what stays.

What the other evaluations that tell facts share is here too: sets, methods, plans, records, figures and tables.
"""
