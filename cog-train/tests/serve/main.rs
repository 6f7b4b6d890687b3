//! Cog's HTTP API, answered by the binary of a trainer and seen from outside.

#[path = "../cli/sandbox.rs"]
#[allow(dead_code, reason = "the tests of the command line use all of it")]
mod sandbox;

mod answers;
mod docs;
mod faults;
mod lifecycle;
mod server;
mod trainings;
mod uploads;
mod webhooks;

use sandbox::Sandbox;

fn probe() -> Sandbox {
    Sandbox::new("probe")
}
