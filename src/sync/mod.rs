//! The journeys of a document: submit, deliver, acknowledge, reconcile.
