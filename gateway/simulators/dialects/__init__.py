"""What each provider accepts, answers and rejects, as its recorded traffic shows."""
