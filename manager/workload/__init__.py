"""What a run demands of any machine; pure."""
