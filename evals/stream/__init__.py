"""Tell facts one after another to several methods, ask after each and at the end, and compare what stays."""
