//! What happened, for whoever asks.
