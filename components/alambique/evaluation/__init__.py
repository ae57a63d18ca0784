"""What was measured, judged: leaderboard, gates, paired bootstrap. Pure functions of files; no ML library."""
