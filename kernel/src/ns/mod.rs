//! Namespaces: who owns what, and the time a task is told.
