//! Deliveries to receivers, verifiers and proxies that others have written, and to servers that misbehave.

#![cfg(test)]

mod world;

mod docs;
mod faults;
mod proxies;
mod receivers;
