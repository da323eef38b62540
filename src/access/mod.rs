//! Who is calling, and for which units.
