//! Tables read both ways: a source document to FHIR resources and back. Pure: no clock, no socket, no file after load.
