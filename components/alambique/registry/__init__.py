"""What a run did, how its candidates were judged, and who is champion."""
