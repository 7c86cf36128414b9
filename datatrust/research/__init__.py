"""What a researcher holds: questions, studies, jobs, results."""
