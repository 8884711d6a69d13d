//! The edit engine and the headers of Secrets by themselves, and what must hold for every input of it.

/// The module as it stands in promote-pr: without git and hosts it builds in seconds.
#[path = "../../crates/promote-pr/src"]
mod engine {
    pub mod edit;
}

pub mod checks;
pub mod secrets;

pub use engine::edit;
