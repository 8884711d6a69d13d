//! What the controller does, told as scenarios; `scenario.rs` says how to read them.

mod approvals;
mod changes;
mod conditions;
mod defects;
mod flow;
