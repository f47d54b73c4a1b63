//! Programs in memory, whole and damaged, are loaded and looked at.
