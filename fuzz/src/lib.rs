//! The edit engine by itself, and what must hold for every input of it.

/// The module as it stands in promote-pr: without git and hosts it builds in seconds.
#[path = "../../crates/promote-pr/src"]
mod engine {
    pub mod edit;
}

pub mod checks;

pub use engine::edit;
