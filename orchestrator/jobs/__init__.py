"""What users do with jobs and see of them: submissions, versions, history, results, removal."""
