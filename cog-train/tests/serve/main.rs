//! Cog's HTTP API, answered by the binary of a trainer and seen from outside.

#[path = "../cli/pattern.rs"]
mod pattern;
#[path = "../cli/sandbox.rs"]
#[allow(dead_code, reason = "the tests of the command line use all of it")]
mod sandbox;

mod answers;
mod deaths;
mod disk;
mod docs;
mod ends;
mod faults;
mod health;
mod hooks;
mod hostile;
mod hosts;
mod leftovers;
mod lifecycle;
mod page;
mod server;
mod trainings;
mod uploads;
mod webhooks;
mod wire;

use sandbox::Sandbox;

/// The trainer that ends in the way that its inputs say.
fn faulty() -> Sandbox {
    Sandbox::new("faulty")
}

fn probe() -> Sandbox {
    Sandbox::new("probe")
}
