//! The registries' journeys: what a quality registry gets of whom and in what form, what it must erase, and what a patient may
//! ask of it.

mod cipher;
mod coded;
pub mod disclosure;
mod form;
mod kept;
pub mod objection;
#[cfg(test)]
mod tests;

pub use cipher::Cipher;
pub use coded::{CODED, coded};
pub use form::Form;
