//! The registries' journeys: what a quality registry gets of whom, what it must erase, and what a patient may ask of it.

mod cipher;
mod coded;
mod kept;

pub use cipher::Cipher;
pub use coded::{CODED, coded};
