"""Tell facts, then other ones that replace them: which answer is given, the new or the stale one."""
