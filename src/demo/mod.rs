//! The journey that `vardkedja demo` plays: one patient's whole way over real HTTP, and the systems it is played on.
//!
//! - `receiver`: the primary care system, a process of its own with its own database
//! - `world`: starts both programs and knows their addresses
//! - `documents`: what the sending clinic writes
//! - `clinic`: what the people in primary care do, as plain FHIR against their own server
//! - `journey`: the steps, in order; `teller`: how they are told

mod clinic;
mod documents;
pub mod journey;
pub mod receiver;
mod teller;
mod world;

use std::time::Instant;

pub use clinic::{Clinic, Left};
pub use journey::{Journey, Places};
pub use teller::Teller;

/// How the demo is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Keep everything running afterwards.
    pub stay: bool,
    /// Send every message twice.
    pub twice: bool,
}

/// How the demo's primary care system is set up: Vårdcentralen Norr and its people.
pub fn receiver_options() -> receiver::Options {
    let staff = receiver::Staff { hsa_id: documents::NORTH.into(), name: "Vårdcentralen Norr (exempel)".into() };
    receiver::Options { staff: Some(staff), ..receiver::Options::default() }
}

/// Plays the journey; true where everything came out as it should.
pub async fn play(wish: Wish) -> anyhow::Result<bool> {
    let started = Instant::now();
    let world = world::World::start().await?;
    let mut teller = Teller::default();
    teller.places(&world);
    let places = Places { gateway: world.gateway.clone(), clinic: world.clinic_fhir() };
    let outcome = Journey::new(places, wish.twice, &mut teller)?.play().await;
    let good = match outcome {
        Ok(()) => {
            teller.sum_up(started.elapsed());
            true
        }
        Err(error) => {
            teller.broke(&error);
            false
        }
    };
    if wish.stay {
        teller.stay();
        tokio::signal::ctrl_c().await?;
    }
    world.stop().await;
    Ok(good)
}
