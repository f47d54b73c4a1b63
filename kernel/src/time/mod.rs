//! Host time: what the machine's clocks say. Knows no task and no namespace.
