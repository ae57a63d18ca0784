"""What a run came to: the leaderboard that gates read, and the page that people read."""
