//! Git over SSH against the real `sshd`, with what goes wrong on the way.

#![cfg(test)]

mod bed;
mod faults;
mod git;
mod host_keys;
mod keys;
mod strangers;
