"""What people sign: roots, studies, mandates, votes, results, and their verification."""
