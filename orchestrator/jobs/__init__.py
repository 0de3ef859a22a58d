"""Jobs as users see them: submissions, versions, history, results, removal."""
