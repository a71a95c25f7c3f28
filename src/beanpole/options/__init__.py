"""Settings: which options exist, which values they take, and which value is in force. PURE."""
