//! What is gone is gone: from the file, and from a copy that is put back.
