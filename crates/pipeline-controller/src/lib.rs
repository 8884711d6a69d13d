#![doc = include_str!("../README.md")]

pub mod args;
pub mod run;

mod reconcile;

mod act;
pub mod approve;
mod claims;
pub mod conclude;
pub mod decide;
mod observe;
mod record;

mod endpoints;
mod heard;
mod notifications;

mod observed;
pub mod outcome;
pub mod plan;

mod key;
pub mod strategies;
mod validity;
mod value;

mod election;
mod everyone;
mod leader;
pub mod lease;
pub mod shard;
mod wake;
mod watch;

mod causes;
mod context;
mod health;
mod hooks;
pub mod metrics;
mod policy;
mod start;
mod telemetry;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod model;
