//! Tests of names and places: the walk, making and removing, renaming.
